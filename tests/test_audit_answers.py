"""What a person asks of an audit: is it bad, what does it mean for people, does a limit hold, does a promise."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

import mialab.audit
from mialab.audit import AuditError, Outputs, audit, gate, risk
from mialab.audit.gate import parse
from mialab.audit.headline import LEVELS, WRONG_FILE, headline
from mialab.cli import main
from mialab.outputs import Outputs as Plain
from mialab.per_sample import Scores


def gaussian(shift: float, n: int = 4000, *, seed: int = 0, **options):
    """A score per sample, members' `shift` standard deviations above the others'."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 1
    scores = Scores(rng.normal(shift * member), member, kind="scores")
    return audit(scores, attacks="score", **{"known": 0.5, **options})


# is it bad


@pytest.mark.parametrize(
    ("shift", "level"), [(0.0, "no"), (0.25, "slightly"), (0.6, "yes"), (2.0, "badly"), (-1.0, "unclear")]
)
def test_the_answer_grows_with_the_distance_of_two_gaussians(shift, level):
    assert headline(gaussian(shift, n=20_000)).level == level


def test_shuffled_membership_is_called_a_leak_in_one_of_twenty_files_at_most():
    rng, leaks = np.random.default_rng(0), 0
    for seed in range(200):
        member = rng.permutation(600) % 2 == 1
        outputs = Plain(rng.normal(0, 2, (600, 3)), rng.integers(0, 3, 600), member)
        chosen = ["gap", "loss", "entropy", "modified-entropy", "loss-per-class"]
        leaks += headline(audit(outputs, attacks=chosen, seed=seed)).level not in ("no", "unclear")
    assert leaks <= 16  # of 200 at 5 %, more has a chance of 2 %


def test_the_first_line_names_the_attack_that_finds_most_at_the_lowest_fpr_that_can_be_told():
    report = gaussian(2.0, n=8000)
    first, second, third = headline(report).lines
    tpr = report.attacks["score"].everyone.tpr["0.01"]
    assert first == (
        f"Is it bad? yes, badly: score finds {100 * tpr.value:.1f} % of members "
        f"[{100 * tpr.low:.1f}, {100 * tpr.high:.1f}], accusing 1 % of non-members"
    )
    assert f"{100 * report.attacks['score'].everyone.auc.value:.1f} % of pairs" in second
    assert third.startswith("Measured by 1 attack on 2,000 members, 2,000 non-members")
    assert str(report).splitlines()[:3] == [first, second, third]


def test_one_member_is_one_member():
    member = np.arange(300) < 4
    report = audit(Scores(np.arange(300.0), member, kind="scores"), attacks="score", known=0.8)
    assert "on 1 member, 60 non-members" in headline(report).lines[2]
    assert "300 samples: 4 members, 296 non-members" in str(report)
    assert "evaluated on the rest: 1 member, 60 non-members" in str(report) and "1 members" not in str(report)


def test_a_note_on_the_file_makes_the_answer_unclear_and_comes_first():
    rng = np.random.default_rng(0)
    member, labels = np.arange(2000) % 2 == 1, rng.integers(0, 5, 2000)
    logits = rng.normal(0, 1, (2000, 5))
    logits[np.arange(2000), labels] += 2 + 2 * member
    report = audit(Outputs(logits, labels, ~member), attacks="loss")
    assert headline(report).level == "unclear"
    assert headline(report).lines[0].endswith("read the notes first (membership-inverted)")


def test_every_note_that_makes_the_answer_unclear_exists():
    folder = Path(mialab.audit.__file__).parent
    trees = [ast.parse(path.read_text()) for path in folder.glob("*notes.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call.args[0] for call in calls if getattr(call.func, "id", "") == "Note"]
    assert set(WRONG_FILE) <= {ast.literal_eval(name) for name in named}


def test_the_json_has_the_answer():
    answer = gaussian(2.0).to_dict()["answer"]
    assert answer["level"] in LEVELS and len(answer["lines"]) == 3


def test_legend_and_table_agree_where_nothing_leaks():
    rng = np.random.default_rng(3)
    member = np.arange(400) % 2 == 1
    report = audit(Outputs(rng.normal(0, 2, (400, 3)), rng.integers(0, 3, 400), member), attacks=["gap", "loss"])
    assert report.divergence.confidence.value < 0 and report.divergence.epsilon_at_least.value == 0
    text = str(report)
    assert "below 0 it means 0, and the gain of -1.386 with it" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("JS, nats ", "epsilon "))]
    assert all("nothing" in row and "0.0000" not in row for row in rows) and len(rows) == 2


# what it means for people


def test_risk_figures_are_those_of_two_gaussians_in_closed_form():
    shift, prior = 1.5, 0.1
    report = gaussian(shift, n=40_000, prior=prior, seed=1)
    found = report.risks["score"]
    truth = ndtr(shift - 2.3263478740408408)  # TPR at 1 % FPR
    for figure, right in (
        (found.lift["0.01"], truth / 0.01),
        (found.precision["0.01"], prior * truth / (prior * truth + (1 - prior) * 0.01)),
        (found.advantage, 2 * ndtr(shift / 2) - 1),
    ):
        assert figure.low <= right <= figure.high and figure.high - figure.low < 0.3 * right
    members, of = found.found["0.01"]
    assert of == 10_000 and members == round(report.attacks["score"].everyone.tpr["0.01"].value * of)


def test_precision_of_a_guess_is_the_prior():
    assert risk.precision(0.01, 0.01, 0.2) == pytest.approx(0.2)


def test_risk_is_none_where_there_are_too_few():
    found = gaussian(1.0, n=100).risks["score"]
    assert found.lift["0.01"] is None and found.precision["0.01"] is None and found.found["0.01"] is None


@pytest.mark.parametrize("prior", [0, 1, -0.5, float("nan"), "half", None])
def test_a_prior_that_is_no_share_is_refused(prior):
    with pytest.raises(AuditError, match="prior: found .* expected a share of members between 0 and 1"):
        gaussian(1.0, n=100, prior=prior)


# promises


def answered(epsilon: float, n: int, seed: int, **options):
    """Randomized response, whose epsilon is this: membership told truthfully with probability e^eps / (1 + e^eps)."""
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.5
    told = member ^ (rng.random(n) > np.exp(epsilon) / (1 + np.exp(epsilon)))
    return audit(Scores(told.astype(float), member, kind="scores"), attacks="score", known=0.5, **options)


def test_randomized_response_is_not_refuted_where_the_promise_is_kept_and_is_where_it_is_not():
    kept = [answered(1.0, 2000, seed, claimed=(1.0, 0.0)).claim.refuted for seed in range(100)]
    assert sum(kept) <= 10
    assert all(answered(1.0, 2000, seed, claimed=(0.5, 0.0)).claim.refuted for seed in range(10))


def test_a_delta_excuses_some_of_the_proof():
    strict, lax = (answered(1.0, 4000, 0, claimed=(0.5, delta)).claim.at_least.value for delta in (0.0, 0.3))
    assert 0.5 < strict < 1.1 and lax < strict - 0.1


def test_the_promise_is_told_in_text_and_json():
    report = answered(2.0, 4000, 0, claimed=(0.5, 1e-5))
    assert "claimed: epsilon 0.5, delta 1e-05: REFUTED, score proves at least 1." in str(report)
    assert report.to_dict()["claim"]["refuted"] is True
    untold = answered(2.0, 4000, 0, claimed=(8, 0)).claim
    assert not untold.refuted and "not refuted" in str(untold)


def test_nothing_is_said_of_a_promise_where_no_threshold_can_be_chosen():
    rng = np.random.default_rng(0)
    report = audit(Scores(rng.random(100), np.arange(100) % 2, kind="scores"), known=0, claimed=(1, 0))
    assert report.claim.refuted is None and "cannot be told" in str(report)


@pytest.mark.parametrize("claimed", [8, (8,), ("a", "b"), (-1, 0), (1, 1), (float("inf"), 0), (float("nan"), 0)])
def test_a_promise_that_is_none_is_refused(claimed):
    with pytest.raises(AuditError, match="claimed: found"):
        gaussian(1.0, n=100, claimed=claimed)


# limits


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("tpr@0.01 > 0.05", True),
        ("tpr@1% > 5%", True),
        ("tpr@0.01>=0.05", True),
        ("tpr@0.01 > 0.9", False),
        ("auc > 0.8", True),
        ("auc > 0.9", False),
        ("value auc of score > 0.88", False),
        ("high auc > 0.86", True),
        ("advantage > 0.5", True),
        ("balanced_accuracy > 0.77", False),
        ("value balanced_accuracy > 0.75", True),
        ("epsilon > 1", True),
        ("js > 0.6", False),
    ],
)
def test_limits_are_judged_on_a_report_whose_truth_is_known(text, broken):
    # Two Gaussians 1.5 apart: AUC .856, balanced accuracy .773, advantage .547, TPR .204 at 1 % FPR.
    report = gaussian(1.5, n=8000, seed=1)
    why = parse(text).broken(report)
    assert (why is not None) == broken, why
    assert why is None or why.startswith(f"{text}: score ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected such as 'tpr@0.01 > 0.05'"),
        ("tpr@0.01", "expected such as 'tpr@0.01 > 0.05'"),
        ("tpr > 0.05", "a TPR needs an FPR"),
        ("auc@0.01 > 0.5", "a TPR needs an FPR, and nothing else does"),
        ("recall > 0.5", "figures are auc, advantage, balanced_accuracy, tpr@0.01, epsilon, js"),
        ("auc < 0.5", "expected such as"),
        ("auc > much", "expected such as"),
        ("auc > 1e", "is no number"),
        ("tpr@2 > 0.5", "expected an FPR between 0 and 1"),
        ("low epsilon > 1", "is what all attacks prove: 'epsilon > 1'"),
        ("auc > 0.5; rm -r", "expected such as"),
        ("auc > 60", "is never beyond 60"),
        ("tpr@0.01 > 5", "is never beyond 5"),
    ],
)
def test_bad_limits_are_refused_with_what_would_do(text, words):
    with pytest.raises(AuditError) as refused:
        parse(text)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_limit_that_cannot_be_told_says_why():
    report = gaussian(1.0, n=400)
    for text, words in (
        ("tpr@0.001 > 0.05", "TPR at 0.001 FPR needs 10000 non-members"),
        ("auc of lira-online > 0.5", "lira-online was not run"),
        ("auc of nonsense > 0.5", "unknown attack 'nonsense'"),
    ):
        with pytest.raises(gate.Untold, match=words):
            parse(text).broken(report)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    member = np.arange(4000) % 2 == 1
    place = tmp_path_factory.mktemp("answers") / "scores.npz"
    np.savez(place, scores=rng.normal(2.0 * member), member=member)
    return str(place)


def run(*arguments) -> int:
    try:
        return main(["audit", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code)


def test_a_broken_limit_is_exit_code_3_after_the_report_and_says_why(file, tmp_path, capsys):
    limits = ["--fail-if", "auc > 0.99", "--fail-if", "tpr@0.1 > 0.05"]
    assert run(file, *limits, "--json", tmp_path / "out.json") == 3
    out, err = capsys.readouterr()
    assert out.startswith("Is it bad? yes") and json.loads((tmp_path / "out.json").read_text())["version"] == 1
    (line,) = err.splitlines()
    assert line.startswith("mialab: error: --fail-if tpr@0.1 > 0.05: score has 0.")


def test_a_limit_that_holds_is_exit_code_0(file, capsys):
    assert run(file, "--fail-if", "auc > 0.99") == 0
    assert capsys.readouterr().err == ""


def test_a_limit_that_cannot_be_told_is_exit_code_2(file, capsys):
    assert run(file, "--fail-if", "tpr@0.001 > 0.1") == 2
    assert "needs 10000 non-members" in capsys.readouterr().err


def test_a_bad_limit_is_refused_before_the_audit(tmp_path, capsys):
    assert run(tmp_path / "none.npz", "--fail-if", "tpr > 0.05") == 2
    assert "argument --fail-if: found 'tpr > 0.05'; a TPR needs an FPR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prior", "1.5"), "argument --prior: found '1.5'; expected a number between 0 and 1"),
        (("--claimed-epsilon", "-1"), "argument --claimed-epsilon: found '-1'; expected a number from 0 on"),
        (("--delta", "1e-5"), "--delta: found no --claimed-epsilon beside it"),
    ],
)
def test_options_that_make_no_sense_are_refused(file, options, words, capsys):
    assert run(file, *options) == 2
    assert words in capsys.readouterr().err


def test_prior_and_promise_reach_the_report(file, capsys):
    assert run(file, "--prior", "0.02", "--claimed-epsilon", "0.5", "--delta", "1e-5") == 0
    out = capsys.readouterr().out
    assert "if 2 % of all people are (--prior)" in out and "claimed: epsilon 0.5, delta 1e-05: REFUTED" in out
