"""Black-box attacks beside a peer's on the same arrays: `python benchmarks/attacks.py [seeds]` prints one table.

The peer is adversarial-robustness-toolbox (extra `bench`), with its defaults. Target: one small CNN on `textures`, as
`mialab run basics/overfitting --preset smoke` trains it, at its last epoch. Every attack learns on the same known half
of either side and is judged on the other half: AUC with its 95 % interval, processor seconds to learn and to score.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
from art.estimators.classification import BlackBoxClassifier

from mialab import attacks, fusion, metrics, seeds
from mialab.attacks import Evidence, Known
from mialab.chapters.targets import target

OURS = ("gap", "confidence", "neural-published", "neural-released", "neural-per-class")
PEERS = ("nn", "rf", "gb", "lr")


def ours(name: str, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    return attacks.get(name).score(evidence, Known.of(known, member), seed)


def peer(kind: str, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    p, y = evidence.p.astype(np.float32), evidence.labels
    classes = p.shape[1]
    target = BlackBoxClassifier(lambda x: np.zeros((len(x), classes)), (1,), classes)  # never asked: outputs are given
    attack = MembershipInferenceBlackBox(target, attack_model_type=kind)
    inside, outside = known & member, known & ~member
    attack.fit(x=None, y=y[inside], test_x=None, test_y=y[outside], pred=p[inside], test_pred=p[outside])
    scores = attack.infer(None, y, pred=p, probabilities=True)
    return scores[:, -1].astype(np.float64)


def main(seeds_count: int) -> None:
    contestants: dict[str, Callable] = {f"mialab {name}": partial(ours, name) for name in OURS}
    contestants |= {f"peer {kind}": partial(peer, kind) for kind in PEERS}
    print("| seed | attack | AUC | 95 % interval | seconds |\n|---|---|---|---|---|")
    for seed in range(seeds_count):
        run = target("textures", seed=seed)
        outputs = run.outputs(run.epochs[-1])
        p, member = fusion.predict(outputs.logits), outputs.member
        evidence = Evidence(p, fusion.fuse(outputs.logits), p, outputs.labels)
        known = np.random.default_rng(seeds.derive(seed, "known")).random(len(member)) < 0.5
        for name, attack in contestants.items():
            start = time.process_time()
            scores = attack(evidence, known, member, seed)
            seconds = time.process_time() - start
            area, low, high = metrics.auc_interval(scores[~known], member[~known])
            print(f"| {seed} | {name} | {area:.3f} | {low:.3f}-{high:.3f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
