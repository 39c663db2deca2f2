"""How many models of an ensemble are right about a sample, and what that has to do with its membership.

The ensemble paper (section 3.2, Figures 2, 3 and 7 to 9) splits the confidence of n models in a sample by Eq. 1,

    y_el = (c y^c + (n - c) y^m) / n,

where c, the level of correct agreement, counts the models that classify the sample correctly, y^c is the mean
confidence of these, and y^m that of the others. `answers` finds the three for each sample, `levels` their distributions
on members and non-members, `decompose` what each adds to the members' lead, `lead_at_equal_level` and
`auc_at_equal_level` what is left at equal c, `split` the distributions of Figure 2, `shape` what c shows beyond
accuracy. Over epochs, call them once per epoch.

Two readings of "confidence" fit Eq. 1: the probability of the true class ("true"), and that of the class which the
ensemble answers ("max", its largest one). They differ where the ensemble is wrong, so results say which they use.

What holds for any ensemble, whatever it leaks, and hence is no evidence:

1. The mean of c over samples, divided by n, is the mean accuracy of the models. So members and non-members differ in
   mean c by n times the models' mean generalisation gap. Only the shape of c's distribution can say more.
2. The level's JS is at least that of one model's correctness, the model being drawn at random: to draw it is to compute
   something from c (data-processing inequality).
3. In the "true" reading, the members' lead in mean confidence is the mean of the single models' leads. To average
   confidences widens no gap of means; it changes the spread around them.
4. Mean confidence is mean accuracy times y^c plus mean error times y^m, if y^c is the mean over all pairs of a sample
   and a model that is right about it.

All arithmetic is float64. Arrays over levels are [n + 1], for c = 0 to n. With one model c says whether it is right,
and everything here is about a single model, for comparison.
"""

from mialab.agreement.answers import READINGS, Answers, answers, level
from mialab.agreement.decomposition import FACTORS, Decomposition, Factors, decompose, shapley
from mialab.agreement.equal import EqualAuc, EqualLead, auc_at_equal_level, lead_at_equal_level
from mialab.agreement.levels import Levels, Side, levels
from mialab.agreement.shape import Shape, SideShape, shape
from mialab.agreement.split import Part, Split, Units, split, units

__all__ = [
    "FACTORS",
    "READINGS",
    "Answers",
    "Decomposition",
    "EqualAuc",
    "EqualLead",
    "Factors",
    "Levels",
    "Part",
    "Shape",
    "Side",
    "SideShape",
    "Split",
    "Units",
    "answers",
    "auc_at_equal_level",
    "decompose",
    "lead_at_equal_level",
    "level",
    "levels",
    "shape",
    "shapley",
    "split",
    "units",
]
