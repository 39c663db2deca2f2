"""`mialab audit`: how well attacks tell a model's training data from other data."""

import argparse
import os
import textwrap
from functools import partial
from pathlib import Path

from mialab import catalogue
from mialab.cli import output
from mialab.names import unknown

FIGURES = ("png", "pdf", "svg")
BELOW = """FILE.npz, as numpy.savez writes it:
  logits or probabilities  [samples, classes], or [models, samples, classes] for an ensemble
  labels                   [samples]: the true classes, 0 to classes - 1
  member                   [samples]: 1 where the models were trained on the sample, else 0

REF.npz, what reference models (shadows), trained on random halves of the same samples, answer on all of them:
  logits or probabilities  [shadows, samples, classes], the samples in the order of FILE.npz; a shadow is the whole
                           pipeline: for an ensemble the fused prediction of an entire ensemble
  member                   [shadows, samples]: 1 where the shadow was trained on the sample, else 0
  labels                   [samples], if you like: compared with those of FILE.npz

Within each class, on either side, the attacker knows the membership of a SHARE of the samples: attacks learn from
these and choose their threshold on them, and are evaluated on the rest. With 0 everything is evaluated, attacks that
learn are skipped, and balanced accuracy is the best over thresholds. All attacks are evaluated on all the remaining
samples, neural-released too, also on the classes that the paper's script skips (fewer than 10 samples on a side).

Before any attack runs, the arrays are looked at for mistakes: members that do worse than non-members, labels or
reference samples in another order, classes with other numbers, rows that stand there twice, probabilities by the name
of logits, shadows that are the model itself. What is found is printed on top as notes, with how to check; a note never
stops the audit. Where nothing is wrong, each that rests on a test speaks in one of 10,000 files at most.

The Jensen-Shannon divergences are those of the evaluated samples' fused prediction. They bound the attacks that see it,
and none that looks at the samples, at reference models or at each model's own answers.

the JSON, in shares, with 95 % intervals; null where there are too few samples:
  {"version": 1, "notes": [NOTE], "samples": SIDES, "accuracy": SIDES, "attacks": {NAME: ATTACK},
   "skipped": {NAME: reason},
   "divergence": {"confidence": JS, "confidence_per_class": JS, "prediction": JS, "js_at_least": PROOF,
                  "epsilon_at_least": PROOF}}
  NOTE is {"code", "sentence", "figures": {NAME: number or list}}: what looks like a mistake in the file, see above
  SIDES is {"members", "nonmembers"}
  ATTACK is {"auc", "auc_interval": [low, high], "balanced_accuracy", "balanced_accuracy_interval",
    "tpr": {"0.1", "0.01", "0.001"} by FPR, "tpr_interval" likewise, "evaluated": SIDES,
    and "correct" and "misclassified", each with all of the foregoing on those samples}
  JS is {"js" in nats, "js_interval": [low, high], "bits", "distance" (root of the nats), "gain" of the best attack,
    "tv" and "best_balanced_accuracy": [least, most], "null": {"mean", "high", "p_value"} under shuffled membership,
    "lower_bound": true if the JS may be larger, "evaluated": SIDES}
  PROOF is {"value" in nats or an epsilon, "attack", "tried": among how many attacks, "caught": [members found, of],
    "accused": [non-members accused, of]}: a lower bound that holds with 95 % confidence

the scores' arrays, [samples] each: labels, member, evaluated (1 where figures are measured), and one by each attack's
name; higher = more likely a member. The figure shows at most eight attacks: the best at the lowest FPR, and gap.
"""


def add(commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "audit",
        help="how well attacks tell a model's training data from other data",
        description="How well attacks tell members (samples that models were trained on) from non-members.",
        epilog=BELOW + _names(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("file", metavar="FILE.npz", help="arrays logits (or probabilities), labels and member; see below")
    option("--attack", metavar="NAME", action="append", type=_attack, help="one to run; repeatable; see below")
    option("--reference", metavar="REF.npz", help="outputs of reference models, for LiRA, RMIA and shadow attacks")
    option("--fusion", choices=tuple(catalogue.FUSIONS), default="confidence", help="how models are joined; see below")
    option("--white-box", action="store_true", help="neural attacks see all models' confidences side by side")
    option("--known", metavar="SHARE", type=_share, default=0.8, help="share of each class and side, see below (0.8)")
    option("--split", choices=("random", "file-order"), default="random", help="known at random, or the first ones")
    option("--seed", metavar="N", type=int, default=0, help="of the random split and the neural attacks (0)")
    option("--json", metavar="OUT", help="also write the report to this file, as JSON")
    option("--scores", metavar="OUT.npz", help="also write each sample's scores to this file; see below")
    option("--plot", metavar="FIGURE", type=_figure, help="also draw the ROC curves: a .png, .pdf or .svg file")
    parser.set_defaults(run=_audit)


def _names() -> str:
    lines = []
    for when, attacks in {**catalogue.GROUPS, "run on scores, one per sample": catalogue.SCORES}.items():
        lines += ["", f"attacks {when}:", *(f"  {name:<28}{what}" for name, what in attacks.items())]
    lines += [
        "",
        "attacks on scores, one per sample:",
        *(f"  {name:<28}{what}" for name, what in catalogue.SCORES.items()),
    ]
    fusions = (f"  {name:<28}{what}" for name, what in catalogue.FUSIONS.items())
    variants = textwrap.wrap(", ".join(catalogue.VARIANTS), 118, break_on_hyphens=False)
    lines += ["", "variants run by name, with --reference:", *(f"  {line}" for line in variants)]
    return "\n".join([*lines, "", "fusions of an ensemble's models:", *fusions])


def _attack(name):
    possible = (*catalogue.USUAL, *catalogue.VARIANTS, *catalogue.SCORES)  # a file cannot be asked
    if name not in possible:
        raise argparse.ArgumentTypeError(unknown("attack", name, possible))
    return name


def _figure(place):
    if _kind(place) not in FIGURES:
        raise argparse.ArgumentTypeError(f"found {place!r}; expected a name that ends in .{', .'.join(FIGURES)}")
    return place


def _kind(place):
    return os.path.splitext(place)[1].lower().removeprefix(".")


def _share(text):
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number from 0 to below 1, such as 0.8")
    return share


def _audit(arguments):
    places = _places(arguments)
    try:
        report = _report(arguments)
        text, content = str(report), report.to_dict()
    except MemoryError:
        return output.fail(
            f"{arguments.file}: the audit needs more memory than there is; audit fewer samples or models"
        )
    failed = [
        "--json" in places and output.write(places["--json"], content),
        "--scores" in places and output.keep(places["--scores"], partial(_save_scores, report), option="--scores"),
        "--plot" in places and _plot(report, places["--plot"], _kind(arguments.plot)),
    ]
    return output.show(f"{text}\n") or max(map(int, failed))


def _places(arguments) -> dict[str, Path]:
    """Where to write, by option; each must be another place, and none that is read."""
    asked = {"--json": arguments.json, "--scores": arguments.scores, "--plot": arguments.plot}
    places: dict[str, Path] = {}
    for option, out in asked.items():
        if out is not None:
            read = (arguments.file, arguments.reference)
            places[option] = output.target(out, *read, *places.values(), option=option)
    return places


def _report(arguments):
    from mialab.attacks import reference_files
    from mialab.audit import AuditError, audit, read

    with output.refusing(AuditError):
        outputs = read(arguments.file)
        return audit(
            outputs,
            attacks=arguments.attack,
            fusion=arguments.fusion,
            white_box=arguments.white_box,
            known=arguments.known,
            split=arguments.split,
            seed=arguments.seed,
            references=None if arguments.reference is None else reference_files.read(arguments.reference, outputs),
        )


def _save_scores(report, file):
    import numpy as np

    samples = {"labels": report.labels, "member": report.member, "evaluated": report.evaluated}
    np.savez(file, **samples, **{name: result.scores for name, result in report.attacks.items()})


def _plot(report, place, kind) -> int:
    from mialab.cli import figure

    try:
        return output.keep(place, partial(figure.save, report=report, kind=kind), option="--plot")
    except ValueError as error:
        return output.fail(f"--plot {place}: {error}")
