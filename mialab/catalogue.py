"""The names of all attacks and fusions, with a line on each: it loads nothing, so that help is quick.

`mialab.attacks` finds the attacks themselves, and refuses one that has no line here; `mialab.fusion` has the rules.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "run by default": {
        "gap": "a correct prediction means member",
        "confidence": "the true class's probability, as log-odds",
        "loss": "the cross-entropy, low for members",
        "entropy": "the prediction's entropy, low for members; ignores the label",
        "modified-entropy": "an entropy that knows the label, low for members",
        "confidence-per-class": "confidence, one threshold per class",
        "loss-per-class": "loss, one threshold per class",
        "entropy-per-class": "entropy, one threshold per class",
        "modified-entropy-per-class": "modified entropy, one threshold per class",
        "privacy-risk": "probability of membership, from histograms of modified entropy per class",
        "neural-published": "network on the confidences, as the ensemble paper states it (128-128-64)",
        "neural-released": "network on the confidences, as the paper's script has it (128-64, 30 steps)",
        "neural-per-class": "one network per class, as in the script's parent work",
    },
    "run by default with --white-box, as they see each model's own answers": {
        "agreement": "the number of models that are right",
        "white-box-ensemble": "network on each model's log-odds of the true class, in order, and that number",
    },
    "run by default with --reference": {
        "shadow-shokri": "one network per class, taught on what reference models answered (64)",
        "shadow-rahman": "the same, larger (128-64)",
        "shadow-thresholds": "loss, one threshold per class, found on reference models",
        "lira-online": "likelihood ratio of reference models trained with and without the sample",
        "lira-offline": "how improbable the answer is among reference models trained without the sample",
        "lira-online-fixed": "lira-online, one variance for all samples: for few reference models",
        "lira-offline-fixed": "lira-offline, one variance for all samples",
        "rmia-online": "share of all samples that this one beats, relative to reference models",
        "rmia-offline": "the same, with reference models trained without the sample alone",
    },
    "run by name only, as they take minutes": {
        "nasr-paper": "two-branch network on prediction and label, as in the pruning paper",
        "nasr-code": "two-branch network as in its authors' released code",
        "nasr-paper-x": "nasr-paper with a branch that sees the sample: from Python only, where x can be given",
        "samia": "attention network taught on pruned shadows: from Python only, where sensitivities can be given",
    },
}
VARIANTS: tuple[str, ...] = (
    "lira-online-averaged",
    "lira-offline-averaged",
    "lira-online-fixed-averaged",
    "lira-offline-fixed-averaged",
    "lira-online-in",
    "lira-online-fixed-in",
    "lira-offline-density",
    "lira-offline-fixed-density",
    "lira-online-median",
    "lira-online-fixed-in-median",
    "lira-offline-density-median",
    "lira-offline-fixed-density-median",
    "rmia-online-gamma-2",
    "rmia-offline-gamma-2",
)
SCORES: dict[str, str] = {  # run by default where there is a score per sample, and no outputs
    "score": "the score itself",
    "score-per-class": "the same, one threshold per class, where there are labels",
}
QUERIES: dict[str, str] = {  # from Python only, where the model itself can be given
    "label-augmentation": "how many shifts and flips of the image are still answered rightly",
    "label-noise": "how much noise the right answer survives",
    "label-flips": "how many flipped bits the right answer survives",
    "label-boundary": "the distance to the nearest input with another answer, from labels alone",
    "gradient-weights": "the norm of the loss's gradient in the weights, small for members",
    "gradient-input": "the norm of the loss's gradient in the sample, small for members",
}
USUAL: dict[str, str] = {name: line for group in GROUPS.values() for name, line in group.items()}
NAMES: tuple[str, ...] = (*USUAL, *VARIANTS, *SCORES, *QUERIES)
FUSIONS: dict[str, str] = {  # of an ensemble's models
    "confidence": "the mean of their confidences",
    "logit": "the softmax of their mean logit",
    "vote": "each class's share of their votes",
    "median": "the median of their confidences",
    "trimmed-mean": "the mean without the lowest and the highest fifth, class by class",
    "most-confident": "the surest model of those that give the label which the mean gives",
    "least-confident": "the least sure of them",
    "random-agreeing": "one of them at random, always the same for the same input",
}
