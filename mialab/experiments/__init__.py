"""What the chapters run: named targets, trained through the store."""

from mialab.experiments.targets import PRESETS, Run, Target, configuration, names, target

__all__ = ["PRESETS", "Run", "Target", "configuration", "names", "target"]
