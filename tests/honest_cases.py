"""Outputs of models that nobody saved by mistake, of many sizes, kinds and accuracies; and shadows beside them."""

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn import datasets, ensemble, linear_model, naive_bayes, neighbors, neural_network, tree

from mialab.attacks import References
from mialab.audit import Outputs
from mialab.fusion import softmax

SIZES = ((40, 40), (300, 30), (30, 300), (500, 500), (1200, 300), (800, 800))
CLASSES = (2, 3, 10, 100)
SIGNALS = (0.0, 0.3, 1.0, 3.0, 12.0)  # from guessing to no error
LEAKS = (0.0, 0.5, 2.0, 8.0)  # how much the true class stands out on members besides
SCALES = (0.1, 1.0, 5.0)  # unsure, and far too sure
FORMATS = ("float32", "float16", "float64", "softmax", "softmax float16", "three decimals")
SHADOWS = (2, 4, 8, 32)


def simulated(seed: int, *, models: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Logits [models, n, classes], labels, member, and a format's name: every setting drawn by the seed."""
    rng = np.random.default_rng([seed, 7])
    members, others = SIZES[rng.integers(len(SIZES))]
    classes, n = CLASSES[rng.integers(len(CLASSES))], members + others
    models = models or (1, 1, 1, 3)[rng.integers(4)]
    skewed = rng.dirichlet(np.full(classes, (1.0, 100.0)[rng.integers(2)]))
    labels, member = rng.choice(classes, n, p=skewed), rng.permutation(n) < members
    signal, leak, scale = (options[rng.integers(len(options))] for options in (SIGNALS, LEAKS, SCALES))
    if signal == 0:
        leak, scale = 0.0, 0.1  # a model that guesses is not sure of it
    if scale == 5 or leak == 8:  # sure answers that are right by chance are noted
        signal = max(signal, 1.0)
    logits = rng.normal(size=(models, n, classes)) + rng.normal(size=(n, classes))
    logits[:, np.arange(n), labels] += signal + leak * member + rng.normal(size=n)
    return scale * logits, labels, member, FORMATS[rng.integers(len(FORMATS))]


def saved(logits, labels, member, how: str) -> Outputs:
    """The outputs as one of the FORMATS."""
    if how.startswith("float"):
        return Outputs(logits.astype(how), labels, member)
    p = softmax(logits)
    if how == "three decimals":
        return Outputs.from_probabilities(np.round(p, 3), labels, member)
    return Outputs.from_probabilities(p.astype("float16" if how.endswith("16") else "float32"), labels, member)


def beside_shadows(seed: int) -> tuple[Outputs, References]:
    """A target, and shadows on random halves that find the same samples hard (or none harder than another)."""
    rng = np.random.default_rng([seed, 8])
    n, classes, shadows = int(rng.choice([60, 300, 1000])), int(rng.choice([2, 3, 10, 50])), int(rng.choice(SHADOWS))
    signal, leak = rng.choice([0.5, 2.0, 6.0]), rng.choice([0.0, 0.3, 2.0, 8.0])
    hard, scale = rng.choice([0.0, 1.0, 3.0]) * rng.normal(size=n), rng.choice([0.3, 1.0, 4.0])
    labels = rng.integers(0, classes, n)
    inside = rng.random((shadows + 1, n)) < rng.choice([0.3, 0.5, 0.7])
    inside[:, 0], inside[:, 1] = True, False
    logits = rng.normal(size=(shadows + 1, n, classes))
    logits[:, np.arange(n), labels] += signal + hard + leak * inside
    logits = (scale * logits).astype("float32")
    return Outputs(logits[0], labels, inside[0]), References(logits[1:], inside[1:], labels)


def learners() -> Iterator[tuple[str, object]]:
    """Classifiers of many kinds, also such as have few answers to give."""
    yield "logistic", linear_model.LogisticRegression(max_iter=50)
    yield "weak logistic", linear_model.LogisticRegression(C=1e-4)
    yield "naive bayes", naive_bayes.GaussianNB()  # sure beyond reason
    yield "neighbours", neighbors.KNeighborsClassifier(5)
    yield "one neighbour", neighbors.KNeighborsClassifier(1)
    yield "tree", tree.DecisionTreeClassifier(random_state=0)
    yield "leaves of ten", tree.DecisionTreeClassifier(min_samples_leaf=10, random_state=0)
    yield "stump", tree.DecisionTreeClassifier(max_depth=1)
    yield "forest", ensemble.RandomForestClassifier(30, random_state=0)
    yield "shallow forest", ensemble.RandomForestClassifier(30, max_depth=3, random_state=0)
    yield "boosting", ensemble.GradientBoostingClassifier(n_estimators=3, max_depth=2)
    yield "stumps boosted", ensemble.GradientBoostingClassifier(n_estimators=5, max_depth=1)
    yield "network", neural_network.MLPClassifier((32,), max_iter=25, random_state=0)


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Data sets with real numbers, whole numbers and few values."""
    x, y = datasets.load_digits(return_X_y=True)
    yield "digits", x, y
    yield "digits but zeros", x[y > 0][:500], y[y > 0][:500]
    yield "tumours", *datasets.load_breast_cancer(return_X_y=True)
    yield "wine", *datasets.load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (1500, 8)).astype(float)  # many samples are alike
    yield "categories", x, (x.sum(axis=1) + rng.normal(size=1500) > 8).astype(int)
    yield "noisy labels", rng.normal(size=(600, 10)), rng.permutation(np.arange(600) % 4)


def learnt() -> Iterator[tuple[str, Outputs]]:
    """Every learner on every table, half of the samples being members."""
    for table, x, y in tables():
        inside = np.random.default_rng(1).random(len(y)) < 0.5
        for name, learner in learners():
            if (table, name) == ("wine", "network"):
                continue  # it answers every sample alike: that is noted
            if table == "noisy labels" and name not in ("weak logistic", "logistic", "stump", "shallow forest"):
                continue  # learnt by heart, it is sure of other samples, and right by chance: that is noted
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # not converged, which is fine here
                learner.fit(x[inside], y[inside])
            found = learner.predict_proba(x)
            p = np.zeros((len(y), y.max() + 1))
            p[:, learner.classes_] = found
            yield f"{name} on {table}", Outputs.from_probabilities(p, y, inside)
