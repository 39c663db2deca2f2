"""Notes on arrays that are probably wrong: each where its mistake is planted, and none on honest outputs."""

import json
from collections import Counter

import numpy as np
import pytest
from honest_cases import beside_shadows, learnt, saved, simulated

from mialab import fusion
from mialab.attacks import References
from mialab.audit import Outputs, audit, repeats
from mialab.audit.notes import of_outputs
from mialab.audit.reference_notes import of_references
from mialab.fusion import softmax

SIMULATED, WITH_SHADOWS = 200, 100


def notes_on(outputs, references=None):
    log_p, answers = (
        how(outputs.logits, "confidence", probabilities=outputs.probabilities) for how in (fusion.fuse, fusion.answer)
    )
    notes = of_outputs(outputs, log_p, answers)
    return notes + ([] if references is None else of_references(references, outputs, log_p, answers))


def codes(outputs, references=None):
    return [note.code for note in notes_on(outputs, references)]


def made(n=1000, classes=10, *, leak=2.0, signal=2.0, models=1, seed=0):
    """Logits float32 [models, n, classes] of a model that is right more often than not, labels, member."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, classes, n), rng.permutation(n) < n // 2
    logits = rng.normal(size=(models, n, classes))
    logits[:, np.arange(n), labels] += signal + leak * member
    return logits.astype("float32"), labels, member


# silence


def test_no_note_on_honest_outputs():
    """Ground truth: nobody made a mistake here. The statistical notes speak falsely once in 10,000 settings each."""
    found, settings = Counter(), 0
    for seed in range(SIMULATED):
        found.update(f"{note.code} at seed {seed}" for note in notes_on(saved(*simulated(seed))))
        settings += 1
    for name, outputs in learnt():
        found.update(f"{note.code}: {name}" for note in notes_on(outputs))
        settings += 1
    print(f"{settings} honest settings, {sum(found.values())} notes")
    assert settings >= 200 and not found


def test_no_note_on_honest_references():
    found = Counter()
    for seed in range(WITH_SHADOWS):
        found.update(f"{note.code} at seed {seed}" for note in notes_on(*beside_shadows(seed)))
    print(f"{WITH_SHADOWS} honest settings with references, {sum(found.values())} notes")
    assert not found


@pytest.mark.parametrize("classes", [2, 10])
def test_answers_that_are_all_right_all_one_class_or_a_guess_are_no_mistake(classes):
    rng = np.random.default_rng(0)
    labels, member = rng.integers(0, classes, 400), np.arange(400) % 2
    assert codes(Outputs.from_probabilities(np.eye(classes)[labels], labels, member)) == []
    majority = np.zeros((400, classes))
    majority[:, 0] = 30 + rng.random(400)
    assert codes(Outputs(majority, np.where(rng.random(400) < 0.6, 0, labels), member)) == []
    assert codes(Outputs(0.1 * rng.normal(size=(400, classes)), labels, member)) == []
    half = np.where(member == 1, labels, rng.integers(0, classes, 400))  # learnt by heart, unsure of all the rest
    unsure = 0.1 * rng.normal(size=(400, classes)) + 9 * np.eye(classes)[half] * member[:, None]
    assert codes(Outputs(unsure, labels, member)) == []


# what the numbers are


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (softmax, "if they are probabilities"),
        (lambda z: 100 * softmax(z), "per cent"),
        (lambda z: 1 / (1 + np.exp(-3 * z)), "one sigmoid per class"),
        (lambda z: np.round(softmax(z), 3), "if they are probabilities"),
    ],
)
def test_probabilities_under_the_name_of_logits_are_noted(change, words):
    logits, labels, member = made(leak=4.0)
    (note,) = notes_on(Outputs(change(logits), labels, member))
    assert note.code == "logits-are-probabilities" and words in note.sentence


def test_the_models_of_an_ensemble_that_gave_probabilities_are_named():
    logits, labels, member = made(models=3)
    logits[1] = softmax(logits[1])
    (note,) = notes_on(Outputs(logits, labels, member))
    assert note.figures == {"models": [1]} and "models [1]" in note.sentence


def test_a_softmax_that_was_taken_twice_is_noted():
    logits, labels, member = made(leak=4.0)
    twice = softmax(softmax(3 * logits)).astype("float32")
    assert codes(Outputs.from_probabilities(twice, labels, member)) == ["softmax-twice"]


# labels


@pytest.mark.parametrize("where", ["members", "non-members", "members and non-members"])
def test_labels_of_another_order_are_noted_on_their_side(where):
    logits, labels, member = made()
    side = {"members": member, "non-members": ~member}.get(where, np.ones(1000, bool))
    for other in (np.random.default_rng(1).permutation(labels), labels[::-1], np.roll(labels, 1), np.sort(labels)):
        (note,) = notes_on(Outputs(logits, np.where(side, other, labels), member))
        assert note.code == "labels-at-chance" and "another order" in note.sentence
        assert set(note.figures) == (set(where.split(" and ")))


def test_labels_of_another_order_are_noted_for_two_and_for_a_hundred_classes():
    for classes, signal in ((2, 3.0), (100, 6.0)):
        logits, labels, member = made(classes=classes, signal=signal)
        shuffled = np.random.default_rng(1).permutation(labels)
        assert codes(Outputs(logits, shuffled, member)) == ["labels-at-chance"]


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_classes_that_are_numbered_from_one_are_noted(classes):
    logits, labels, member = made(2000, classes, signal=4.0)
    rest = labels < classes - 1
    (note,) = notes_on(Outputs(logits[:, rest], labels[rest] + 1, member[rest]))
    assert note.code == "classes-from-1" and "use labels - 1" in note.sentence
    rest = labels > 0
    assert codes(Outputs(logits[:, rest], labels[rest], member[rest])) == []  # no label 0, and none is missing


def test_classes_in_another_order_are_noted_with_the_map():
    logits, labels, member = made(signal=4.0)
    order = np.random.default_rng(3).permutation(10)
    (note,) = notes_on(Outputs(logits, order[labels], member))
    assert note.code == "class-order"
    assert {int(k): v for k, v in note.figures["map"].items()} == {order[k]: k for k in range(10) if order[k] != k}
    swapped = np.array([1, 0, *range(2, 10)])  # two classes alone
    assert codes(Outputs(logits, swapped[labels], member)) == ["class-order"]
    one_side = np.where(member, order[labels], labels)
    (note,) = notes_on(Outputs(logits, one_side, member))
    assert note.code == "class-order" and note.figures["samples"] == "members"


def test_two_classes_the_wrong_way_round_are_noted():
    logits, labels, member = made(classes=2, signal=2.0)
    assert codes(Outputs(logits, 1 - labels, member)) == ["class-order"]


def test_outputs_with_their_sign_turned_are_noted():
    logits, labels, member = made(signal=4.0)
    assert codes(Outputs(-logits, labels, member)) == ["sign-turned"]


# membership


@pytest.mark.parametrize(("n", "leak", "models"), [(100, 4.0, 1), (1000, 1.0, 1), (1000, 2.0, 3), (8000, 0.3, 1)])
def test_membership_the_wrong_way_round_is_noted(n, leak, models):
    logits, labels, member = made(n, leak=leak, models=models)
    assert codes(Outputs(logits, labels, ~member)) == ["membership-inverted"]
    assert codes(Outputs(logits, labels, member)) == []


def test_members_of_no_better_a_loss_are_noted_once_in_10_000_settings():
    rng = np.random.default_rng(0)
    log_p = np.log(softmax(rng.normal(size=(60, 3)) + np.array([2, 0, 0])))
    labels, found = np.zeros(60, int), 0
    from mialab.audit.notes import _inverted  # noqa: PLC0415

    for _ in range(1000):
        found += len(_inverted(Outputs(log_p, labels, rng.permutation(60) < 30), log_p))
    assert found <= 1  # 0.1 expected; two in 1,000 happen once in 200 times


# rows


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("how", ["float32", "float16", "softmax", "softmax float16", "three decimals"])
def test_a_file_that_holds_its_samples_twice_is_noted(how, classes):
    logits, labels, member = made(classes=classes, leak=0.5)
    twice = [np.concatenate([one, one], axis=-1 if one.ndim == 1 else 1) for one in (logits, labels, member)]
    (note,) = notes_on(saved(*twice, how))
    assert note.code == "identical-rows" and note.figures["repeated"] >= 1000


def test_samples_on_both_sides_are_counted():
    logits, labels, member = made(leak=0.0)
    again = np.flatnonzero(member)[:400]
    arrays = (np.append(logits, logits[:, again], axis=1), np.append(labels, labels[again]))
    (note,) = notes_on(Outputs(*arrays, np.append(member, np.zeros(400, bool))))
    assert note.figures == {"rows": 1400, "repeated": 400, "on_both_sides": 800}
    assert "800 stand among members and among non-members" in note.sentence


@pytest.mark.parametrize("times", [1, 3, 30])
def test_a_few_samples_that_stand_there_again_are_noted(times):
    logits, labels, member = made(leak=0.5, signal=1.0)
    again = np.append(np.arange(1000), np.tile(np.arange(40), times))
    assert codes(Outputs(logits[:, again], labels[again], member[again])) == ["identical-rows"]


def test_samples_that_were_computed_twice_are_noted_though_the_last_digits_differ():
    logits, labels, member = made(leak=0.5)
    noisy = logits + 1e-6 * np.random.default_rng(1).normal(size=logits.shape).astype("float32")
    both = Outputs(np.append(logits, noisy, axis=1), np.tile(labels, 2), np.tile(member, 2))
    assert codes(both) == ["identical-rows"]


def test_a_batch_that_was_saved_for_every_batch_is_noted():
    logits, labels, member = made(leak=0.0)
    assert "identical-rows" in codes(Outputs(np.tile(logits[:, :50], (1, 20, 1)), labels, member))
    assert "identical-rows" in codes(Outputs(np.tile(logits[:, :1], (1, 1000, 1)), labels, member))


def test_numbers_of_coincidences_that_independent_samples_have_are_called_impossible_once_in_10_000():
    rng, alarms = np.random.default_rng(0), 0
    for k in range(400):
        shares = rng.dirichlet(np.full(int(rng.integers(2, 3000)), rng.choice([0.01, 0.1, 1, 100])))
        times = rng.multinomial(int(rng.integers(50, 3000)), shares)
        alarms += repeats.impossible(times[times > 0], 1e-4)
        assert repeats.impossible(2 * times[times > 0], 1e-4) or (times == 1).sum() < 60, k
    assert alarms == 0


# reference models


def shadows(n=600, count=8, classes=5, *, seed=0, hard=2.0):
    """A target and shadows on halves that find the same samples hard: logits [1 + count, n, classes], labels, IN."""
    rng = np.random.default_rng(seed)
    labels, inside = rng.integers(0, classes, n), rng.random((count + 1, n)) < 0.5
    logits = rng.normal(size=(count + 1, n, classes))
    logits[:, np.arange(n), labels] += 2 + hard * rng.normal(size=n) + 2 * inside
    return logits.astype("float32"), labels, inside


def beside(logits, labels, inside, *, shadow_logits=None, shadow_inside=None):
    outputs = Outputs(logits[0], labels, inside[0])
    given = (
        (logits[1:] if shadow_logits is None else shadow_logits),
        (inside[1:] if shadow_inside is None else shadow_inside),
    )
    return codes(outputs, References(*given, labels))


def test_right_references_are_not_remarked_on():
    assert beside(*shadows()) == []


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_shadow_that_is_the_audited_model_is_noted(kind):
    logits, labels, inside = shadows()
    copied = logits[0].astype(kind)
    given = {"shadow_logits": np.append(logits[1:], copied[None], 0), "shadow_inside": inside[[*range(1, 9), 0]]}
    assert beside(logits, labels, inside, **given) == ["reference-is-the-model"]
    other_mask = {**given, "shadow_inside": inside[[*range(1, 9), 3]]}
    assert "reference-is-the-model" in beside(logits, labels, inside, **other_mask)
    all_of_them = {"shadow_logits": np.repeat(logits[:1], 8, axis=0)}
    assert "reference-is-the-model" in beside(logits, labels, inside, **all_of_them)


def test_a_shadow_trained_on_the_very_members_is_noted():
    logits, labels, inside = shadows()
    rng = np.random.default_rng(5)
    logits[3] = rng.normal(size=logits[3].shape)
    logits[3, np.arange(600), labels] += 2 + 2 * inside[0]
    inside[3] = inside[0]
    assert beside(logits, labels, inside) == ["reference-has-the-members"]


def test_a_shadow_that_stands_there_twice_is_noted():
    logits, labels, inside = shadows()
    logits[4], inside[4] = logits[2], inside[2]
    assert beside(logits, labels, inside) == ["reference-twice"]


def test_shadows_at_chance_are_named():
    logits, labels, inside = shadows()
    logits[[2, 5]] = np.random.default_rng(0).normal(size=(2, *logits.shape[1:]))
    outputs, references = Outputs(logits[0], labels, inside[0]), References(logits[1:], inside[1:], labels)
    (note,) = notes_on(outputs, references)
    assert note.code == "shadows-at-chance" and note.figures["shadows"] == [1, 4]


def test_the_reference_s_membership_the_wrong_way_round_is_noted():
    logits, labels, inside = shadows()
    assert beside(logits, labels, inside, shadow_inside=~inside[1:]) == ["reference-membership-inverted"]


@pytest.mark.parametrize("turned", [np.s_[::-1, :], np.s_[:, ::-1]])
def test_a_reference_s_membership_of_other_rows_or_columns_is_noted(turned):
    logits, labels, inside = shadows()
    assert beside(logits, labels, inside, shadow_inside=inside[1:][turned]) == ["reference-in-like-out"]


def test_a_reference_s_samples_in_another_order_are_noted_also_within_their_classes():
    logits, labels, inside = shadows()
    order = np.random.default_rng(1).permutation(600)
    moved = {"shadow_logits": logits[1:, order], "shadow_inside": inside[1:, order]}
    assert "reference-order" in beside(logits, labels, inside, **moved)
    within = np.arange(600)
    for label in range(5):
        within[labels == label] = np.random.default_rng(label).permutation(np.flatnonzero(labels == label))
    moved = {"shadow_logits": logits[1:, within], "shadow_inside": inside[1:, within]}
    assert beside(logits, labels, inside, **moved) == ["reference-order"]


def test_a_reference_s_classes_in_another_order_are_noted():
    logits, labels, inside = shadows()
    turned = {"shadow_logits": logits[1:, :, [2, 0, 1, 4, 3]]}
    assert beside(logits, labels, inside, **turned)[0] == "reference-class-order"


@pytest.mark.parametrize("side", ["members", "non-members"])
def test_a_reference_s_samples_in_another_order_are_noted_on_one_side(side):
    logits, labels, inside = shadows(1000)
    mask = inside[0] if side == "members" else ~inside[0]
    order = np.arange(1000)
    order[mask] = np.random.default_rng(1).permutation(np.flatnonzero(mask))
    outputs = Outputs(logits[0], labels, inside[0])
    (note,) = of_order(notes_on(outputs, References(logits[1:, order], inside[1:, order], labels)))
    assert note.figures["side"] == side


def of_order(notes):
    return [note for note in notes if note.code == "reference-order"]


def test_shadows_of_another_recipe_are_noted():
    logits, labels, inside = shadows(2000, hard=0.5)
    weak = logits[1:].copy()
    weak[:, np.arange(2000), labels] -= 1.5
    assert beside(logits, labels, inside, shadow_logits=weak)[0] == "shadows-unlike-the-model"


# the report


def test_notes_stand_on_top_of_the_text_and_in_the_json_and_stop_nothing():
    logits, labels, member = made()
    report = audit(Outputs(logits, labels, ~member), attacks=["gap", "loss"])
    (note,) = report.notes
    lines = str(report).splitlines()
    assert lines[0].startswith("Is it bad? unclear: the file is probably wrong; read the notes first")
    assert lines[lines.index("") + 1].startswith("note: members have the larger losses") and max(map(len, lines)) <= 120
    assert f" note: {note} 1,000 samples" in " ".join(" ".join(lines).split())
    (found,) = report.to_dict()["notes"]
    assert found == {"code": "membership-inverted", "sentence": str(note), "figures": note.figures}
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["notes"] == [found]
    assert list(report.attacks) == ["gap", "loss"]
    quiet = audit(Outputs(logits, labels, member), attacks="gap")
    assert quiet.to_dict()["notes"] == [] and "\n\n1,000 samples" in str(quiet) and "note:" not in str(quiet)


def test_the_shadows_accuracy_stands_beside_the_model_s():
    logits, labels, inside = shadows()
    right = logits.argmax(axis=-1) == labels
    report = audit(
        Outputs(logits[0], labels, inside[0]), attacks="gap", references=References(logits[1:], inside[1:], labels)
    )
    for mask, side in ((inside[1:], inside[0]), (~inside[1:], ~inside[0])):
        assert f"{100 * right[1:][mask].mean():.2f} %" in str(report)
        assert f"{100 * right[0][side].mean():.2f} %" in str(report)


def test_every_note_is_plain_json():
    logits, labels, inside = shadows()
    outputs = Outputs(np.tile(logits[0], (2, 1)), np.roll(np.tile(labels, 2), 1), np.tile(inside[0], 2))
    references = References(np.tile(logits[1:], (1, 2, 1)), np.tile(~inside[1:], (1, 2)), outputs.labels)
    notes = notes_on(outputs, references)
    assert notes and json.loads(json.dumps([note.to_dict() for note in notes], allow_nan=False))
    assert all(note.sentence.isascii() and "\n" not in note.sentence for note in notes)
