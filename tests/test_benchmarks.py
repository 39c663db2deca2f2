"""The benchmarks run: what a lent GPU does, on a CPU; cells and data travel in small parts and come back whole."""

import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_cases import experiment

from mialab.engine.store import Store

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import archives  # noqa: E402
import cifar_parts  # noqa: E402


def test_cells_travel_in_archives_and_a_bare_machine_goes_on_from_them(tmp_path):
    store, cells = Store(tmp_path / "store"), experiment().grid("smoke")
    for cell in cells[:3]:
        store.get(cell)
    assert archives.pack(store.root, tmp_path / "out", {}) == []
    bare = Store(tmp_path / "bare")
    assert archives.unpack(tmp_path / "out", bare.root) == 5, "three audits and two trainings"
    for cell in cells[:3]:
        there, here = store.find(cell), bare.find(cell)
        assert there.info == here.info
    assert archives.unpack(tmp_path / "out", bare.root) == 0, "what is there stays"


def test_archives_are_few_and_small_and_name_what_finds_no_room(tmp_path, monkeypatch):
    store, cells = Store(tmp_path / "store"), experiment(data=("digits", "mnist")).grid("smoke")
    for cell in cells:
        store.get(cell)
    monkeypatch.setattr(archives, "MOST_BYTES", 1500)
    monkeypatch.setattr(archives, "MOST_ARCHIVES", 3)
    left_out = archives.pack(store.root, tmp_path / "out", {})
    files = sorted((tmp_path / "out").iterdir())
    assert 1 <= len(files) <= 3 and all(file.stat().st_size <= 1500 for file in files)
    assert archives.unpack(tmp_path / "out", tmp_path / "bare") + len(left_out) == len(cells) + 6


def test_what_was_sent_before_stays_out_of_later_archives(tmp_path):
    store, cells = Store(tmp_path / "store"), experiment().grid("smoke")
    for cell in cells[:3]:
        store.get(cell)
    names = {path.parent.name for path in store.root.glob("*/cell.json")}
    sent = set(list(names)[:2])
    archives.pack(store.root, tmp_path / "out", {}, sent)
    archives.unpack(tmp_path / "out", tmp_path / "bare")
    assert {path.name for path in (tmp_path / "bare").iterdir()} == names - sent


def test_official_files_travel_as_parts_and_come_back_byte_for_byte(tmp_path):
    folder = tmp_path / "data" / cifar_parts.FOLDER
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in (name for names in cifar_parts.PARTS for name in names):
        images = draw.integers(256, size=(40, 3072), dtype=np.uint8).tobytes()
        content = {b"data": images, b"labels": [1, 2]} if "batch_" in name or name == "test_batch" else {b"labels": [3]}
        (folder / name).write_bytes(pickle.dumps(_python2(content), protocol=2))
    cifar_parts.pack(tmp_path / "data", tmp_path / "parts")
    assert len(list((tmp_path / "parts").iterdir())) == 3
    names = cifar_parts.unpack(tmp_path / "parts", tmp_path / "back")
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "back" / cifar_parts.FOLDER / name).read_bytes() == (folder / name).read_bytes()


def _python2(content):
    """Stands for the official files' long strings, whose bytes protocol 2 writes otherwise."""
    return {key: value.decode("latin-1") if isinstance(value, bytes) else value for key, value in content.items()}


def test_a_lent_gpu_s_script_runs_on_a_cpu(tmp_path):
    out, store = tmp_path / "out", tmp_path / "store"
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh", out, "--toy"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHON": sys.executable, "MIALAB_STORE": str(store)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    steps = dict(re.findall(r"^(\w+): exit (\d+)", (out / "steps.txt").read_text(), flags=re.M))
    assert done.returncode == 0 and steps.keys() == {"tests", "precision", "training", "run", "packed"}, done.stdout
    told = {name: (out / f"{name}.txt").read_text()[-500:] for name in steps}
    assert set(steps.values()) == {"0"}, told
    assert "small_cnn" in told["precision"] and "bare loop" in (out / "training.txt").read_text()
    bare = tmp_path / "bare"
    assert archives.unpack(out, bare) == len(list(store.glob("*-*/cell.json"))) >= 1


@pytest.mark.parametrize("script", ["training", "precision", "archives", "cifar_parts", "schedules"])
def test_every_benchmark_says_how_it_is_run(script):
    assert f"benchmarks/{script}.py" in (ROOT / "benchmarks" / f"{script}.py").read_text().partition('"""')[2][:600]


def test_the_cost_of_an_audit_is_measured_at_every_size(capsys):
    spec = importlib.util.spec_from_file_location("audit_benchmark", ROOT / "benchmarks" / "audit.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(list(benchmark.SIZES), shrunk=500)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(benchmark.SIZES)
    for line in lines[2:]:
        file, wall, processor, peak, _ = (float(cell) for cell in line.strip("| ").split(" | ")[1:])
        assert wall > 0 and processor > 0 and peak > 50 and file < 5
