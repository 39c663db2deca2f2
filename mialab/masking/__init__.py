"""Confidence masking: what a model's owner shows in place of its softmaxes, which protects black boxes alone.

`LabelOnly`, `TopK` and `Rounded` show less; `MemGuard` adds noise that is made against an attack network of the owner's
own. Arrays in, arrays out; none changes the label that is answered. `calibration_error` and `distortion` say what a
mask costs. Explained in the chapter "Defenses of ensembles".
"""

from mialab.masking.costs import calibration_error, distortion
from mialab.masking.cut import LabelOnly, Rounded, TopK
from mialab.masking.mask import Mask
from mialab.masking.memguard import MemGuard

__all__ = ["LabelOnly", "Mask", "MemGuard", "Rounded", "TopK", "calibration_error", "distortion"]
