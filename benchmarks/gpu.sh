#!/usr/bin/env bash
# What to do with a GPU that is lent for nine minutes: tests, two benchmarks, then as much of an experiment as time allows.
#
#   benchmarks/gpu.sh OUT [--toy]
#
# Every step has a time limit of its own and writes its result into OUT at once. OUT/cells-*.tar.xz hold the cells that
# are done: unpacked on a machine that knows nothing of them (RESUME), the next call goes on from there. --toy runs all
# of it on a CPU in about a minute.
#
# Settings, as environment variables:
#   PYTHON         an interpreter with torch, torchvision, safetensors, filelock, scikit-learn, pytest (python3)
#   MIALAB_STORE   folder of the cells (a new temporary one)
#   MIALAB_DATA    folder of CIFAR-10 (a new temporary one)
#   PARTS          folder of cifar10-*.tar, made by benchmarks/cifar_parts.py: unpacked into MIALAB_DATA, one or more
#   RESUME         folder of an earlier OUT
#   MINUTES        in all (9)
#   RUN            the experiment, in words of `mialab run` (ensemble/figure1 --preset course); then, say,
#                  "pruning/table1 --preset course --where data=cifar10", table5, table6, figure2 and figure3
#   JOBS           processes that share the GPU (10); a small network alone leaves most of it idle
#   ALONE          not empty: neither tests nor benchmarks
set -uo pipefail
out=$(mkdir -p "${1:?give the folder for the results}" && cd "$1" && pwd)
toy=${2:-}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export MIALAB_STORE=${MIALAB_STORE:-$(mktemp -d)} MIALAB_DATA=${MIALAB_DATA:-$(mktemp -d)}
deadline=$((SECONDS + 60 * ${MINUTES:-9}))

# step NAME LIMIT COMMAND...: at most LIMIT seconds and what is left of the time; all that it prints goes to OUT/NAME.txt.
step() {
    local name=$1 limit=$2 left=$((deadline - SECONDS - 15)) start=$SECONDS
    shift 2
    ((limit > left)) && limit=$left
    ((limit > 0)) || { echo "$name: no time left" | tee -a "$out/steps.txt"; return 0; }
    timeout --signal=INT --kill-after=10 "$limit" "$@" >"$out/$name.txt" 2>&1
    echo "$name: exit $?, $((SECONDS - start)) of at most $limit s" | tee -a "$out/steps.txt"
}

: >"$out/steps.txt"
[ -n "${PARTS:-}" ] && step data 60 "$python" benchmarks/cifar_parts.py unpack "$PARTS" "$MIALAB_DATA"
[ -n "${RESUME:-}" ] && step resume 60 "$python" benchmarks/archives.py unpack "$RESUME" "$MIALAB_STORE"
tests="tests/test_training.py tests/test_training_hooks.py tests/test_training_checkpoint.py tests/test_training_many.py"
if [ "$toy" = --toy ]; then
    step tests 60 "$python" -m pytest -q -p no:cacheprovider tests/test_training.py
    step precision 30 "$python" benchmarks/precision.py --toy
    step training 40 "$python" benchmarks/training.py --toy
    RUN="ensemble/figure1 --preset smoke --seeds 1 --only 1/5"
elif [ -z "${ALONE:-}" ]; then
    step tests 100 "$python" -m pytest -q -rs -p no:cacheprovider $tests tests/test_seeds.py
    step precision 60 "$python" benchmarks/precision.py 3
    step training 90 "$python" benchmarks/training.py --families
fi
# Processes share a GPU well under NVIDIA's MPS, where that is installed (benchmarks/results/gpu.md).
if command -v nvidia-cuda-mps-control >"$out/mps.txt"; then
    CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d) CUDA_MPS_LOG_DIRECTORY=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    step mps 20 setsid nvidia-cuda-mps-control -d
fi
read -ra asked <<<"${RUN:-ensemble/figure1 --preset course}"
[ "$toy" = --toy ] || asked+=(--jobs "${JOBS:-10}")
"$python" benchmarks/archives.py pack "$MIALAB_STORE" "$out" --every 20 >"$out/archives.txt" 2>&1 &
packer=$!
step run 3600 "$python" -m mialab run "${asked[@]}"
kill "$packer" 2>/dev/null
wait "$packer" 2>/dev/null
command -v nvidia-cuda-mps-control >/dev/null && nvidia-cuda-mps-control <<<quit >>"$out/mps.txt" 2>&1
step packed 60 "$python" benchmarks/archives.py pack "$MIALAB_STORE" "$out"
cat "$out/steps.txt"
