"""Defenses: frozen settings that start hooks of the training loop (`mialab.training.Defense`). A list of them combines.

`pruning` leaves few weights; `min_max` trains against an inference network; `dp` trains with differential privacy.
"""
