"""Defenses: frozen settings that start hooks of the training loop (`mialab.training.Defense`). A list of them combines.

`pruning` leaves few weights; `min_max` trains against an inference network; `algorithm1` runs the pruning paper's
search with both as printed; `dp` trains with differential privacy; `penalties` (L1, L2), `dropout` and `mmd`
(MMD + Mixup) are those of the ensemble paper's Figure 5 and beside it.
"""
