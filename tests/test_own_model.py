"""Audits of models that one holds, and reference models for them, in a few lines of Python."""

import os

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch.utils.data import DataLoader, TensorDataset

from mialab import references
from mialab.audit import AuditError, Outputs, audit
from mialab.own_model import audit_model

N, D = 400, 8


def world(n: int = N, *, seed: int = 0, classes: int = 3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D)).astype(np.float32)
    y = (x @ np.random.default_rng(1).normal(size=(D, classes)) + rng.normal(0, 2, (n, classes))).argmax(axis=1)
    return x, y


TRAIN, TEST = world(seed=2), world(seed=3)
FAST = {"attacks": ["gap", "loss"], "progress": False}


def module(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(D, 32), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(32, 3))


def figures(report) -> dict:
    return report.to_dict()["attacks"]


def by_hand(logits_train, logits_test) -> dict:
    logits = np.concatenate([logits_train, logits_test], axis=-2)
    labels, member = np.concatenate([TRAIN[1], TEST[1]]), np.repeat([1, 0], [N, N])
    return figures(audit(Outputs(logits, labels, member), attacks=FAST["attacks"]))


def answers(model, x) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def test_a_module_is_audited_as_its_logits_would_be_from_arrays_tensors_loaders_and_data_sets():
    model = module()
    expected = by_hand(answers(model, TRAIN[0]), answers(model, TEST[0]))
    tensors = [tuple(map(torch.from_numpy, side)) for side in (TRAIN, TEST)]
    sets = [TensorDataset(*side) for side in tensors]
    loaders = [DataLoader(one, batch_size=64) for one in sets]
    for sides in ((TRAIN, TEST), tensors, sets, loaders):
        assert figures(audit_model(model, *sides, **FAST)) == expected


def test_a_module_is_left_as_it_was_with_some_parts_in_training_and_some_not():
    model = module()
    model.train()
    model[2].eval()
    before = [part.training for part in model.modules()]
    audit_model(model, TRAIN, TEST, **FAST)
    assert [part.training for part in model.modules()] == before
    assert all(weight.grad is None for weight in model.parameters())


def test_double_inputs_and_half_precision_weights_meet():
    double = (TRAIN[0].astype(np.float64), TRAIN[1]), (TEST[0].astype(np.float64), TEST[1])
    assert figures(audit_model(module(), *double, **FAST)) == figures(audit_model(module(), TRAIN, TEST, **FAST))
    assert audit_model(module().to(torch.bfloat16), TRAIN, TEST, **FAST).attacks["loss"].everyone.auc is not None


def test_an_ensemble_of_modules_stays_in_step_with_a_shuffling_loader():
    models = [module(seed) for seed in range(3)]
    expected = by_hand(*(np.stack([answers(one, side[0]) for one in models]) for side in (TRAIN, TEST)))
    loaders = [DataLoader(TensorDataset(*map(torch.from_numpy, side)), 50, shuffle=True) for side in (TRAIN, TEST)]
    report = audit_model(models, *loaders, **FAST, known=0)
    assert report.shape == (3, 2 * N, 3)
    still = audit_model(models, TRAIN, TEST, **FAST, known=0)
    for name, one in report.attacks.items():
        assert one.everyone.auc == pytest.approx(still.attacks[name].everyone.auc, abs=1e-6)
    assert figures(audit_model(models, TRAIN, TEST, **FAST)) == expected


def test_the_logits_are_found_in_what_a_model_answers():
    class Wrapped(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.inner, self.shape = module(), shape

        def forward(self, x):
            z = self.inner(x)
            return {"dict": {"loss": 0, "logits": z}, "tuple": (z, None)}[self.shape]

    plain = figures(audit_model(module(), TRAIN, TEST, **FAST))
    for shape in ("dict", "tuple"):
        assert figures(audit_model(Wrapped(shape), TRAIN, TEST, **FAST)) == plain


def test_classifiers_of_scikit_learn_are_audited_with_labels_of_any_kind():
    names = np.array(["cat", "dog", "yak"])
    plain = RandomForestClassifier(20, random_state=0).fit(*TRAIN)
    named = RandomForestClassifier(20, random_state=0).fit(TRAIN[0], names[TRAIN[1]])
    report = audit_model(plain, TRAIN, TEST, **FAST)
    assert report.accuracy == (plain.score(*TRAIN), plain.score(*TEST))
    other = audit_model(named, (TRAIN[0], names[TRAIN[1]]), (TEST[0], names[TEST[1]]), **FAST)
    assert figures(other) == figures(report)
    assert report.attacks["loss"].everyone.auc.value > 0.8, "a forest knows its own samples"


def test_decision_functions_and_functions_count_as_logits_and_say_probabilities_where_they_are():
    assert audit_model(LinearSVC().fit(*TRAIN), TRAIN, TEST, **FAST).shape == (1, 2 * N, 3)
    two = [(x, y % 2) for x, y in (TRAIN, TEST)]
    assert audit_model(LinearSVC().fit(*two[0]), *two, **FAST).shape == (1, 2 * N, 2)
    fitted = LogisticRegression().fit(*TRAIN)
    expected = figures(audit_model(fitted, TRAIN, TEST, **FAST))
    assert figures(audit_model(fitted.predict_proba, TRAIN, TEST, probabilities=True, **FAST)) == expected
    one = audit_model(LogisticRegression().fit(*two[0]), *two, attacks="lira-online", progress=False)
    assert one.skipped["lira-online"].startswith("needs reference models")


def test_the_report_is_written_as_a_page(tmp_path):
    audit_model(module(), TRAIN, TEST, **FAST).to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("model", "sides", "words"),
    [
        (object(), (TRAIN, TEST), "model: found object; expected a torch.nn.Module"),
        (RandomForestClassifier, (TRAIN, TEST), "model: found RandomForestClassifier; expected .* fitted"),
        ([], (TRAIN, TEST), "model: found an empty list"),
        (module(), (TRAIN[0], TEST), r"train: found ndarray; expected a pair \(x, y\)"),
        (module(), (TRAIN, (TEST[0], TEST[1][:-1])), "test: found 400 inputs and 399 labels"),
        (module(), (TRAIN, 3), "test: found int; expected a pair"),
        (module(), (TRAIN, DataLoader(TensorDataset(torch.zeros(9, D)), 3)), "test: found batches|expected pairs"),
        (lambda x: np.zeros((1, 3)), (TRAIN, TEST), "model: found answers of shape .* expected one for each"),
        (LogisticRegression().fit(*TRAIN), (TRAIN, (TEST[0], TEST[1] + 5)), "labels: found .* was not fitted to"),
        ([lambda x: np.ones((len(x), 3)), lambda x: np.ones((len(x), 4))], (TRAIN, TEST), "the same classes"),
        ([module(), LogisticRegression().fit(*TRAIN)], (TRAIN, TEST), "logits and models that answer probabilities"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(model, sides, words):
    with pytest.raises(AuditError, match=words) as refused:
        audit_model(model, *sides, **FAST)
    assert "\n" not in str(refused.value)


# references


X, Y = np.concatenate([TRAIN[0], TEST[0]]), np.concatenate([TRAIN[1], TEST[1]])


def forest(rows):
    fitted = RandomForestClassifier(10, random_state=int(rows[0])).fit(X[rows], Y[rows])
    return lambda asked: fitted.predict_proba(X[asked])


def test_references_of_a_forest_make_lira_better_than_the_loss(tmp_path):
    target = RandomForestClassifier(10, random_state=0).fit(*TRAIN)
    place = references.train(
        forest, len(X), 16, out=tmp_path / "REF.npz", kind="probabilities", labels=Y, progress=False
    )
    asked = ["loss", "rmia-online"]
    report = audit_model(target, TRAIN, TEST, attacks=asked, references=references.load(place), progress=False)
    loss, rmia = (report.attacks[name].everyone.auc.value for name in asked)
    assert rmia > 0.9 and not report.notes
    assert sorted(os.listdir(tmp_path)) == ["REF.npz"]


def test_every_sample_is_in_the_training_set_of_half_of_the_models(tmp_path):
    seen = []

    def count(rows):
        seen.append(rows)
        return lambda asked: np.zeros((len(asked), 2))

    place = references.train(count, 101, 6, out=tmp_path / "r.npz", progress=False)
    member = np.load(place)["member"]
    assert member.shape == (6, 101) and (member.sum(axis=0) == 3).all()
    assert all(np.array_equal(np.flatnonzero(mask), rows) for mask, rows in zip(member, seen, strict=True))
    assert all(abs(len(rows) - 50.5) <= 1 for rows in seen)


def test_an_interrupted_training_goes_on_with_the_next_model_and_gives_the_same(tmp_path):
    trained = []

    def train(rows, *, stop=None):
        if len(trained) == stop:
            raise KeyboardInterrupt
        trained.append(len(rows))
        return lambda asked: np.outer(np.isin(asked, rows), [0.0, rows.sum()])

    with pytest.raises(KeyboardInterrupt):
        references.train(lambda rows: train(rows, stop=3), 60, 8, out=tmp_path / "r.npz", progress=False)
    assert len(trained) == 3 and not (tmp_path / "r.npz").exists()
    place = references.train(train, 60, 8, out=tmp_path / "r.npz", progress=False)
    assert len(trained) == 8
    references.train(train, 60, 8, out=tmp_path / "r.npz", progress=False)
    assert len(trained) == 8, "what is there is left alone"
    whole = references.train(train, 60, 8, out=tmp_path / "whole.npz", progress=False)
    assert place.read_bytes() == whole.read_bytes() or all(
        np.array_equal(np.load(place)[name], np.load(whole)[name]) for name in ("logits", "member")
    )


def test_losses_of_shadows_are_references_too(tmp_path):
    def regression(rows):
        weights = np.linalg.lstsq(X[rows], Y[rows], rcond=None)[0]
        return lambda asked: (X[asked] @ weights - Y[asked]) ** 2

    place = references.train(regression, len(X), 8, out=tmp_path / "r.npz", kind="losses", progress=False)
    assert references.load(place).values.shape[:2] == (8, len(X))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": None}, "train: found NoneType; expected a function"),
        ({"train": lambda rows: np.zeros(5)}, "train: returned ndarray; expected a function"),
        ({"train": lambda rows: lambda asked: np.zeros((3, 2))}, "reference model 0: found type float64 and shape"),
        ({"kind": "odds"}, "kind: found 'odds'; expected logits"),
        ({"number": 1}, "found 1 models and 20 samples; expected at least 2"),
        ({"labels": [0, 1]}, r"labels: found shape \[2\]; expected \[20\]"),
        ({"out": "r.csv"}, "expected a name that ends in .npz"),
    ],
)
def test_references_that_cannot_be_are_refused_in_one_line(tmp_path, change, words):
    usual = {"train": lambda rows: lambda asked: np.zeros((len(asked), 2)), "n": 20, "number": 2, "out": "r.npz"}
    asked = {**usual, **change}
    asked["out"] = tmp_path / asked["out"]
    with pytest.raises(AuditError, match=words):
        references.train(**asked, progress=False)


def test_another_design_is_never_mixed_with_what_is_there(tmp_path):
    def train(rows):
        return lambda asked: np.zeros((len(asked), 2))

    references.train(train, 20, 2, out=tmp_path / "r.npz", progress=False)
    for other in ({"number": 4}, {"seed": 1}, {"kind": "probabilities"}, {"n": 22}):
        with pytest.raises(AuditError, match="references of another n, number, kind or seed; delete it"):
            references.train(**{"train": train, "n": 20, "number": 2, **other}, out=tmp_path / "r.npz", progress=False)
