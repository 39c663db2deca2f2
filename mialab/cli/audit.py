"""`mialab audit`: how well attacks tell a model's training data from other data."""

import argparse
import os
import shlex
import sys
import textwrap
from functools import partial
from pathlib import Path

from mialab import catalogue
from mialab.cli import output
from mialab.names import unknown

FIGURES = ("png", "pdf", "svg")
BELOW = """FILE.npz, as numpy.savez writes it:
  logits or probabilities  [samples, classes], or [models, samples, classes] for an ensemble; of a binary model with one
                           output [samples]; of several queries per sample [models, samples, queries, classes]
  losses or scores         instead of these, one number per sample: [samples], or [models, samples]; a loss is low for
                           members, a score high
  labels                   [samples]: the true classes, 0 to classes - 1; may be left out: what needs none runs
  member                   [samples]: 1 where the models were trained on the sample, else 0

Or FILE.csv, a row per sample: a column member, a column label, and a column per class with its probability (or logit0,
logit1, ...; or one column named probability, logit, loss or score). - is standard input.

REF.npz, what reference models (shadows), trained on random halves of the same samples, answer on all of them:
  logits or probabilities  [shadows, samples, classes], the samples in the order of FILE.npz; a shadow is the whole
                           pipeline: for an ensemble the fused prediction of an entire ensemble. Of several queries
                           [shadows, samples, queries, classes]
  losses or scores         [shadows, samples] instead
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

LIMIT is such as 'tpr@0.01 > 0.05' or 'value auc of loss >= 0.6'. Figures: auc, advantage, balanced_accuracy, tpr@FPR,
epsilon, js; of any attack, or "of" one; by the lower end of the interval, or its "value" or "high" end. The chance that
a limit is broken by luck is 2.5 % for each attack: name one, or leave some room above what guessing reaches.

exit codes: 0 done; 2 refused, or an attack asked for by name could not run; 3 a limit of --fail-if is broken.

the JSON, in shares, with 95 % intervals; null where there are too few samples:
  {"version": 1, "answer": {"level", "lines"}, "notes": [NOTE], "samples": SIDES, "accuracy": SIDES,
   "attacks": {NAME: ATTACK}, "skipped": {NAME: reason},
   "divergence": {"confidence": JS, "confidence_per_class": JS, "prediction": JS, "js_at_least": PROOF,
                  "epsilon_at_least": PROOF},
   "risk": {"prior", "attacks": {NAME: RISK}}, "claim": null or {"epsilon", "delta", "at_least": PROOF, "refuted"}}
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
  RISK is {"advantage", "advantage_interval", "lift" and "precision" by FPR, "lift_interval", "precision_interval",
    "found": [members found, of] by FPR}

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
    option("file", metavar="FILE.npz", help="outputs, labels and member, or a loss per sample; see below; - is stdin")
    option("--attack", metavar="NAME", action="append", type=_attack, help="one to run; repeatable; see below")
    option("--reference", metavar="REF.npz", help="outputs of reference models, for LiRA, RMIA and shadow attacks")
    option("--fusion", choices=tuple(catalogue.FUSIONS), default="confidence", help="how models are joined; see below")
    option("--white-box", action="store_true", help="neural attacks see all models' confidences side by side")
    option("--known", metavar="SHARE", type=_share, default=0.8, help="share of each class and side, see below (0.8)")
    option("--split", choices=("random", "file-order"), default="random", help="known at random, or the first ones")
    option("--seed", metavar="N", type=int, default=0, help="of the random split and the neural attacks (0)")
    option("--prior", metavar="SHARE", type=_prior, default=0.5, help="of members, for the precision (0.5)")
    option("--claimed-epsilon", metavar="EPSILON", type=_epsilon, help="compare a promise with what attacks prove")
    option("--delta", metavar="DELTA", type=_share, help="of that promise (0)")
    option(
        "--fail-if", metavar="LIMIT", action="append", type=_gate, help="exit with 3 beyond it; see below; repeatable"
    )
    option("--report", metavar="OUT.html", help="also write the report as one page for people; - is stdout")
    option("--json", metavar="OUT", help="also write the report to this file, as JSON; - is stdout")
    option("--scores", metavar="OUT.npz", help="also write each sample's scores to this file; see below")
    option("--plot", metavar="FIGURE", type=_figure, help="also draw the ROC curves: a .png, .pdf or .svg file")
    parser.set_defaults(run=_audit)


def _names() -> str:
    lines = []
    for when, attacks in {**catalogue.GROUPS, "run on scores, one per sample": catalogue.SCORES}.items():
        lines += ["", f"attacks {when}:", *(f"  {name:<28}{what}" for name, what in attacks.items())]
    fusions = (f"  {name:<28}{what}" for name, what in catalogue.FUSIONS.items())
    variants = textwrap.wrap(", ".join(catalogue.VARIANTS), 118, break_on_hyphens=False)
    lines += ["", "variants run by name, with --reference:", *(f"  {line}" for line in variants)]
    return "\n".join([*lines, "", "fusions of an ensemble's models:", *fusions])


def _attack(name):
    possible = (*catalogue.USUAL, *catalogue.VARIANTS, *catalogue.SCORES)  # a file cannot be asked
    if name not in possible:
        raise argparse.ArgumentTypeError(unknown("attack", name, possible))
    return name


def _gate(text):
    from mialab.audit import gate

    try:
        return gate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _prior(text):
    share = _number(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number between 0 and 1, such as 0.1")
    return share


def _epsilon(text):
    if not 0 <= (epsilon := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number from 0 on, such as 8")
    return epsilon


def _number(text):
    try:
        return float(text)
    except ValueError:
        return -1.0


def _figure(place):
    if _kind(place) not in FIGURES:
        raise argparse.ArgumentTypeError(f"found {place!r}; expected a name that ends in .{', .'.join(FIGURES)}")
    return place


def _kind(place):
    return os.path.splitext(place)[1].lower().removeprefix(".")


def _share(text):
    if not 0 <= (share := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number from 0 to below 1, such as 0.8")
    return share


def _audit(arguments):
    if arguments.delta is not None and arguments.claimed_epsilon is None:
        return output.fail("--delta: found no --claimed-epsilon beside it; give both, such as 8 and 1e-5")
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
        "--report" in places and output.keep(places["--report"], partial(_save_page, report), option="--report"),
    ]
    shown = output.tell if output.STDOUT in places.values() else output.show
    return _judged(arguments, report, shown(f"{text}\n") or max(map(int, failed)))


def _judged(arguments, report, code: int) -> int:
    """The exit code after the limits, and the attacks that were asked for, have been looked at."""
    from mialab.audit import gate

    for one in arguments.fail_if or ():
        try:
            broken = one.broken(report)
        except gate.Untold as untold:
            code = max(code, output.fail(untold))
            continue
        if broken is not None:
            code = max(code, output.fail(f"--fail-if {broken}", output.BROKEN))
    if lacking := [name for name in arguments.attack or () if name in report.skipped]:
        reasons = "; ".join(f"{name}: {report.skipped[name]}" for name in dict.fromkeys(lacking))
        code = max(code, output.fail(f"asked for by name, and not run: {reasons}"))
    return code


def _places(arguments) -> dict[str, Path]:
    """Where to write, by option; each must be another place, and none that is read."""
    asked = {name: getattr(arguments, name.removeprefix("--")) for name in ("--json", "--scores", "--plot", "--report")}
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
            progress=True,
            prior=arguments.prior,
            claimed=None if arguments.claimed_epsilon is None else (arguments.claimed_epsilon, arguments.delta or 0.0),
            references=None if arguments.reference is None else reference_files.read(arguments.reference, outputs),
        )


def _save_page(report, file):
    file.write(report.to_html(command=shlex.join(["mialab", *sys.argv[1:]])).encode())


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
