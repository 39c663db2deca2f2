"""Confidence masking: what a model's owner shows in place of its softmaxes, which protects black boxes alone.

`LabelOnly`, `TopK` and `Rounded` show less; `MemGuard` adds noise that is made against an attack network of the owner's
own. Arrays in, arrays out; none changes the label that is answered. `distortion` says how much a mask changes,
and `mialab.fusion.calibration_error` what that costs. Explained in the chapter "Defenses of ensembles".
"""

from mialab.masking.costs import distortion
from mialab.masking.cut import LabelOnly, Rounded, TopK
from mialab.masking.mask import Mask
from mialab.masking.memguard import MemGuard

__all__ = ["LabelOnly", "Mask", "MemGuard", "Rounded", "TopK", "distortion"]
