"""The command `mialab`: thin, one function call per sub-command; heavy imports wait until they are needed."""

import argparse
import contextlib
import json
import os
import sys
import uuid
from pathlib import Path

from mialab import __version__
from mialab.names import unknown

ATTACKS = {
    "gap": "a correct prediction means member",
    "confidence": "the true class's probability",
    "loss": "the cross-entropy, low for members",
    "entropy": "the prediction's entropy, low for members; ignores the label",
    "modified-entropy": "an entropy that knows the label, low for members",
    "confidence-per-class": "confidence, one threshold per class",
    "loss-per-class": "loss, one threshold per class",
    "entropy-per-class": "entropy, one threshold per class",
    "modified-entropy-per-class": "modified entropy, one threshold per class",
    "neural-published": "network on the confidences, as the ensemble paper states it (128-128-64)",
    "neural-released": "network on the confidences, as the paper's script has it (128-64, 30 steps)",
    "neural-per-class": "one network per class, as in the script's parent work",
}
BELOW = """the file, as numpy.savez writes it:
  logits or probabilities  [samples, classes], or [models, samples, classes] for an ensemble
  labels                   [samples]: the true classes, 0 to classes - 1
  member                   [samples]: 1 where the models were trained on the sample, else 0

Within each class, on either side, the attacker knows the membership of a SHARE of the samples: attacks learn from
these and choose their threshold on them, and are evaluated on the rest. With 0 everything is evaluated, attacks that
learn are skipped, and balanced accuracy is the best over thresholds. All attacks are evaluated on all the remaining
samples, neural-released too, also on the classes that the paper's script skips (fewer than 10 samples on a side).

the JSON, in shares, with 95 % intervals; null where there are too few samples:
  {"version": 1, "samples": SIDES, "accuracy": SIDES, "attacks": {NAME: ATTACK}, "skipped": {NAME: reason}}
  SIDES is {"members", "nonmembers"}
  ATTACK is {"auc", "auc_interval": [low, high], "balanced_accuracy", "balanced_accuracy_interval",
    "tpr": {"0.1", "0.01", "0.001"} by FPR, "tpr_interval" likewise, "evaluated": SIDES,
    and "correct" and "misclassified", each with all of the foregoing on those samples}

attacks:
"""
INTERRUPTED = 130  # what a shell reports for Ctrl-C


def main(argv=None) -> int:
    """Run the command line; the exit code: 0, 2 for bad input (with one line on stderr), 130 when interrupted."""
    try:
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except SystemExit as stop:  # argparse: help and version given, or a wrong argument told
        return stop.code
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _show("")


class _Parser(argparse.ArgumentParser):
    """Tells a wrong argument in one line."""

    def error(self, message):
        self.exit(_fail(f"{message}; see {self.prog} --help"))


def _parser():
    parser = _Parser(prog="mialab", description="Membership inference one can see, run, question and extend.")
    parser.add_argument("--version", action="version", version=f"mialab {__version__}")
    parser.set_defaults(run=lambda _: parser.print_help() or 0)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_audit(commands)
    return parser


def _add_audit(commands):
    parser = commands.add_parser(
        "audit",
        help="how well attacks tell a model's training data from other data",
        description="How well attacks tell members (samples that models were trained on) from non-members.",
        epilog=BELOW + "\n".join(f"  {name:<28}{what}" for name, what in ATTACKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", metavar="FILE.npz", help="arrays logits (or probabilities), labels and member; see below")
    add("--attack", metavar="NAME", action="append", type=_attack, help="an attack to run; repeatable (default: all)")
    add("--fusion", choices=("confidence", "logit"), default="confidence", help="what is averaged over the models")
    add("--white-box", action="store_true", help="neural attacks see all models' confidences side by side")
    add("--known", metavar="SHARE", type=_share, default=0.8, help="share of each class and side, see below (0.8)")
    add("--split", choices=("random", "file-order"), default="random", help="known at random, or the first ones")
    add("--seed", metavar="N", type=int, default=0, help="of the random split and the neural attacks (0)")
    add("--json", metavar="OUT", help="also write the report to this file, as JSON")
    parser.set_defaults(run=_audit)


def _attack(name):
    if name not in ATTACKS:
        raise argparse.ArgumentTypeError(unknown("attack", name, ATTACKS))
    return name


def _share(text):
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number from 0 to below 1, such as 0.8")
    return share


def _audit(arguments):
    from mialab.audit import AuditError, audit, read

    try:
        target = None if arguments.json is None else _target(arguments.json, arguments.file)
        report = audit(
            read(arguments.file),
            attacks=arguments.attack,
            fusion=arguments.fusion,
            white_box=arguments.white_box,
            known=arguments.known,
            split=arguments.split,
            seed=arguments.seed,
        )
    except (AuditError, _BadTarget) as error:
        return _fail(error)
    except MemoryError:
        return _fail(f"{arguments.file}: the audit needs more memory than there is; audit fewer samples or models")
    failed = 0 if target is None else _write(target, report.to_dict())
    return _show(f"{report}\n") or failed


class _BadTarget(Exception):
    """The report cannot be written there; told before the work rather than after."""


def _target(out, source):
    target = Path(os.path.realpath(out))  # what a link points to is written, the link stays
    try:
        found = _obstacle(target, source)
    except OSError as error:
        found = error.strerror
    if found:
        raise _BadTarget(f"--json {out}: found {found}; expected a file that can be written; choose another")
    return target


def _obstacle(target, source):
    if target.is_dir():
        return "a directory"
    if target.exists() and not target.is_file():
        return "no regular file"
    if target.exists() and os.path.exists(source) and os.path.samefile(target, source):
        return "the file to audit"
    if not target.parent.is_dir():
        return f"no folder {target.parent}"
    places = [target.parent] + [target] * target.exists()
    return None if all(os.access(place, os.W_OK) for place in places) else "no permission to write"


def _write(target, report):
    """Write the JSON whole or not at all; the exit code."""
    draft = target.with_name(f".mialab-{uuid.uuid4().hex}")
    try:
        draft.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        os.replace(draft, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        return _fail(f"--json {target}: cannot be written ({error.strerror or error}); choose another")
    return 0


def _fail(message):
    print("mialab: error: " + " ".join(str(message).split()), file=sys.stderr)
    return 2


def _show(text):
    """Print; the exit code."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to be said there
        if not isinstance(error, BrokenPipeError):  # that is only a reader, such as `head`, that has seen enough
            return _fail(f"the report cannot be printed ({error.strerror})")
    return 0
