"""The testable sentences of the ensemble paper.

What no number can test is left out: definitions, what others are said to have done, plans for later work, comparisons
between data sets, and what depends on code that nobody has (the exact accuracies of diversified ensembles).

Columns that its experiments are read by, besides data, model, method, epoch, models, fusion, attack and seed:
subset     samples by correctness: "all", "correct", "misclassified"
label      the class that a divergence is of, or "all"
side       "members", "nonmembers", or "both", which weigh alike
level      of correct agreement: "all" samples; "lowest", where one model or none is right; "matched": members and
           non-members weighted to one distribution of levels
factor     what the members' lead in confidence is put down to: "agreement", "correct", "misclassified"
strength   of a defense: 0 is none, 1 the weakest (and the only one, where there is nothing to turn)
access     "black box" or "white box": whether the attack sees every model's output
choice     of the models of an ensemble: "random", "first", or "all" there are
rescaled   whether one member's logits were multiplied by a constant
Values: auc, train_accuracy, test_accuracy; js (nats); confidence (mean probability of the true class),
correct_confidence and misclassified_confidence (the same over the models that are right, or wrong); agreement (mean
level), level_js (between the sides' levels), unanimous (share of samples on which all models or none are right); share
(of a side's samples), contribution (of a factor), changed (share of predictions), auc_above_plain (AUC less that of the
plain ensemble of the same accuracy).
"""

from mialab.claims.claim import Claim, Effect, First, Last, Trend, above, at_least, at_most, below, near

ALEXNET = ({"data": "cifar10", "model": "alexnet"},)
NETS = ("alexnet", "resnet20", "densenet100")  # all that the paper names; which data set has which, it leaves open
CIFAR = tuple({"data": data, "model": net} for data in ("cifar10", "cifar100") for net in NETS)
SVHN = {"data": "svhn", "model": NETS}
HARDER = (  # the data sets on which ensembling is said to help; on ImageNet the architecture is our choice
    {"data": "purchase100", "model": "tabular"},
    {"data": "fashion-mnist", "model": "lenet5"},
    SVHN,
    *CIFAR,
    {"data": "imagenet", "model": "resnet18"},
)
EASY = (
    {"data": "adult", "model": "tabular"},
    {"data": "texas100", "model": "tabular"},
    {"data": "mnist", "model": "lenet5"},
)
GAP_FALLS = ({"data": "cifar10", "model": "densenet100"}, {"data": "cifar100", "model": ("alexnet", "resnet20")})

TEXTURES = {"data": "textures", "model": "small_cnn"}
DIGITS = {"data": "digits", "model": "tabular"}

ATTACK, BY_CONFIDENCE, BY_GAP = {"attack": "neural-published"}, {"attack": "confidence"}, {"attack": "gap"}
BLACK_BOX = {"access": "black box", "choice": ("random", "all")}  # of Figures 4 and 6, which show both, and prefixes
TO_ALL = {"access": "black box"}  # of Figures 12 and 13, where there is one ensemble of each size
AS_TRAINED = {"rescaled": None}  # of Figure 10, which shows a model's logits multiplied by a constant, too
ONE, MANY = {"models": 1}, {"models": Last()}
EARLY, LATE = {"epoch": First()}, {"epoch": Last()}
EARLY_ONE, EARLY_MANY, LATE_ONE, LATE_MANY = EARLY | ONE, EARLY | MANY, LATE | ONE, LATE | MANY
WHOLE, CORRECT, MISCLASSIFIED = ({"subset": subset, "label": "all"} for subset in ("all", "correct", "misclassified"))
EVERY, MATCHED, LOWEST = (LATE_MANY | {"level": level} for level in ("all", "matched", "lowest"))
BOTH = {"side": "both", "level": "all"}  # what is said of members and non-members together
GAP = ("train_accuracy", "test_accuracy")
EPOCHS = ("epoch",)

GUESSING = "0.5 is guessing"
SLIGHT = "our margin: less than 0.05 is slight"
UNCHANGED = "our margin: a change of less than 0.02 counts as none"
SECTIONS = {  # that name a defense; all others stand in BAGS
    **dict.fromkeys(("l1", "l2", "dp"), "abstract, 1, 4.2"),
    "mmd_mixup": "1, 4.2",
    "early_stop": "4.2",
}
BAGS = "1, 2.1, 4.2"
DEFENSES = {  # name in the rows -> in words
    "l1": "L1 regularisation",
    "l2": "L2 regularisation",
    "dp": "Differentially private training",
    "mmd_mixup": "Mixup with a penalty on the distance between outputs on the two sides",
    "early_stop": "Ending the training early",
    "bagging": "Bagging",
    "partitioning": "Partitioning the data among the models",
    "stacking": "Stacking",
}


def claim(id, section, figure, test, sentence, *, on=ALEXNET, stand_ins=(TEXTURES,), given=(), choice="") -> Claim:
    """A claim of the ensemble paper, about AlexNet on CIFAR-10 unless it says otherwise."""
    name, further = figure if "/" in figure else f"ensemble/{figure}", {"given": given, "choice": choice}
    return Claim(id, "ensemble", section, sentence, name, test, settings=on, stand_ins=stand_ins, **further)


def ensembling(value, where) -> Effect:
    """What going from one model to the largest ensemble changes."""
    return Effect(value, of=where | MANY, minus=where | ONE)


def leak(where: dict, minus: dict | None = None) -> Effect:
    """The attack's AUC in one case, less that in another."""
    return Effect("auc", of=ATTACK | where, minus=ATTACK | minus if minus else ())


def lead(value: str, where: dict) -> Effect:
    """By how much members exceed non-members."""
    return Effect(value, of=where | {"side": "members"}, minus=where | {"side": "nonmembers"})


def change(effect, into: dict, out_of: dict) -> Effect:
    """By how much a difference, `effect(where)`, is larger in one case than in another."""
    new, old = effect(into), effect(out_of)
    return Effect(new.value, of=(new.of, old.minus), minus=(new.minus, old.of))


def over_gap(where: dict) -> Effect:
    """The attack's AUC above that of the gap attack."""
    return Effect("auc", of=where | ATTACK, minus=where | BY_GAP)


def defended(method: str, value: str) -> Effect:
    """What a defense, at its strongest and fully trained, changes in the largest ensemble."""
    strongest = {"method": method, "strength": Last()} | ({} if method == "early_stop" else LATE)
    attack = ATTACK if value == "auc" else {}
    return Effect(value, of=MANY | strongest | attack, minus=LATE_MANY | {"method": "none"} | attack)


def bagging(value, size: dict) -> Effect:
    """What bagging changes after 30 epochs, the only number of them that the paper states for it."""
    bagged, plain = ({"epoch": 30, "method": method} for method in ("bagging", "none"))
    return Effect(value, of=size | bagged, minus=size | plain)


def logits(value: str, where: dict) -> Effect:
    """What averaging logits rather than confidences changes in the largest ensemble."""
    logit, confidence = (LATE_MANY | where | {"fusion": fusion} for fusion in ("logit", "confidence"))
    return Effect(value, of=logit, minus=confidence)


# Two or three lines a claim, to be read at a glance: name, section, experiment, test; then the sentence.
# fmt: off
TRADE_OFF = (  # introduction, Figure 1
    claim("members-get-more-confidence", "1", "basics/overfitting", above(Effect("auc", LATE | BY_CONFIDENCE), 0.5),
          "A trained model is surer of its training samples than of fresh ones.",
          choice=GUESSING, stand_ins=(TEXTURES, DIGITS)),
    claim("ensemble-accuracy-rises", "1", "figure1", above(ensembling("test_accuracy", LATE)),
          "An ensemble is right more often than a single one of its models."),
    claim("ensemble-leak-rises", "abstract, 1", "figure1", above(ensembling("auc", LATE | ATTACK)),
          "Where the ensemble is more accurate, the attack on it succeeds more often too.",
          given=(above(ensembling("test_accuracy", LATE)),)),
    claim("trade-off-grows-with-training", "1", "figure1",
          above(change(lambda when: ensembling("auc", when | ATTACK), LATE, EARLY)),
          "What ensembling adds to the leak is larger for models that were trained for longer."),
    claim("late-ensemble-most-accurate", "1", "figure1", above(Effect("test_accuracy", LATE_MANY, EARLY_MANY)),
          "For the highest accuracy, join models that were trained for long."),
    claim("late-ensemble-least-private", "1", "figure1", above(leak(LATE_MANY, EARLY_MANY)),
          "Joining models that were trained for long costs privacy."),
    claim("early-ensemble-more-private", "1", "figure1", below(leak(EARLY_MANY, LATE_ONE)),
          "An ensemble of barely trained models leaks less than one model that was trained for long."),
    claim("early-ensemble-less-accurate", "1", "figure1", below(Effect("test_accuracy", EARLY_MANY, LATE_ONE)),
          "An ensemble of barely trained models is less accurate than one model that was trained for long."),
    claim("early-ensemble-costs-little", "1", "figure1", at_least(Effect("test_accuracy", EARLY_MANY, LATE_ONE), -0.05),
          "What the ensemble of barely trained models loses in accuracy is slight.", choice=SLIGHT),
    claim("early-ensembling-leaks-no-more", "4.2", "figure1", near(ensembling("auc", EARLY | ATTACK), 0.02),
          "Joining underfitted models adds hardly anything to the leak.", choice=UNCHANGED),
    claim("wider-gap-larger-leak", "3.2", "figure1", above(Trend(leak(MANY), Effect(GAP, ONE), EPOCHS)),
          "The wider the generalisation gap of the single models, the larger the leak of their ensemble."),
    claim("fewer-models-leak-less", "A.3", "figure1", below(leak(LATE | {"models": 2}, LATE_MANY)),
          "An ensemble of fewer models leaks less than one of more."),
)

HISTOGRAMS = (  # sections 3.1 to 3.3, Figure 2
    claim("correct-shift-to-centre", "3.1", "figure2", below(ensembling("confidence", LATE | CORRECT)),
          "Ensembling draws the high confidence in correctly classified samples towards the middle."),
    claim("misclassified-shift-to-centre", "3.1", "figure2", above(ensembling("confidence", LATE | MISCLASSIFIED)),
          "Ensembling draws the low confidence in misclassified samples towards the middle."),
    claim("js-rises", "1", "figure2", above(ensembling("js", LATE | WHOLE)),
          "Ensembling drives the confidence in members and in non-members apart."),
    claim("js-rises-correct", "3.3", "figure2", above(ensembling("js", LATE | CORRECT)),
          "Ensembling drives the confidence apart on correctly classified samples by themselves."),
    claim("js-rises-misclassified", "3.3", "figure2", above(ensembling("js", LATE | MISCLASSIFIED)),
          "Ensembling drives the confidence apart on misclassified samples by themselves."),
    claim("alike-when-correct", "3.2, 3.3", "figure2",
          near(Effect("auc", LATE_ONE | BY_CONFIDENCE | CORRECT), 0.05, 0.5),
          "On what one model classifies correctly, its confidence hardly tells members from non-members.",
          choice="0.5 is guessing; our margin: within 0.05 of it is hardly"),
    claim("different-when-misclassified", "3.2", "figure2",
          above(Effect("auc", LATE_ONE | BY_CONFIDENCE | MISCLASSIFIED), 0.5),
          "On what one model misclassifies, its confidence tells members from non-members to some degree.",
          choice=GUESSING),
    claim("little-different-when-misclassified", "3.2, 3.3", "figure2",
          at_most(Effect("auc", LATE_ONE | BY_CONFIDENCE | MISCLASSIFIED), 0.6),
          "What confidence tells about misclassified samples is little.",
          choice="our margin: an AUC below 0.6 is little"),
    *(claim(f"{part}-part-differs-less-than-whole", "3.3", "figure2",
            above(Effect("js", LATE_ONE | WHOLE, LATE_ONE | WHOLE | {"subset": part})),
            f"In one model, the two sides differ more over all samples than over the {words} ones.")
      for part, words in (("correct", "correctly classified"), ("misclassified", "misclassified"))),
)

AGREEMENT = (  # section 3.2, appendix A.2, Figures 3 and 7 to 9
    claim("members-agree-more", "1, 3.2", "figure3", above(lead("agreement", EVERY)),
          "More of the models are right about a member than about a non-member."),
    claim("right-models-are-surer", "3.2", "figure3",
          above(Effect(("correct_confidence", "misclassified_confidence"), LATE_MANY | BOTH)),
          "Models that are right about a sample give its class more confidence than those that are wrong."),
    claim("ensemble-surer-of-members", "3.2", "figure3", above(lead("confidence", EVERY)),
          "The ensemble's confidence is lower on non-members."),
    claim("alike-at-equal-agreement", "3.2", "figure3", near(lead("confidence", MATCHED), 0.02),
          "Among samples about which equally many models are right, members get hardly more confidence.",
          choice=UNCHANGED),
    claim("lead-is-wider-over-all-levels", "3.2", "figure3",
          above(change(lambda where: lead("confidence", where), EVERY, MATCHED)),
          "The members' lead in confidence is wider over all samples than at equal agreement."),
    claim("lead-is-wider-at-lowest-levels", "3.2", "figure3",
          above(change(lambda where: lead("confidence", where), LOWEST, MATCHED)),
          "Where hardly any model is right, the members' lead is wider than at equal agreement elsewhere."),
    claim("lowest-levels-are-rare", "3.2", "figure3", at_most(Effect("share", LOWEST | {"side": "members"}), 0.05),
          "Members about which hardly any model is right are a tiny part.",
          choice="our margin: less than 0.05 of all members, at both levels together, is tiny"),
    claim("agreement-beats-right-models", "abstract, 1, 3.2", "figure3",
          above(Effect("contribution", LATE_MANY | {"factor": "agreement"}, LATE_MANY | {"factor": "correct"})),
          "Agreement explains more of the members' lead than the confidence of the models that are right."),
    claim("agreement-beats-wrong-models", "abstract, 1, 3.2", "figure3",
          above(Effect("contribution", LATE_MANY | {"factor": "agreement"}, LATE_MANY | {"factor": "misclassified"})),
          "Agreement explains more of the members' lead than the confidence of the models that are wrong."),
    claim("gain-follows-agreement", "1, 3.2", "figure3",
          above(Trend(ensembling("auc", ATTACK), lead("agreement", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in agreement, the attack on the ensemble outruns that on a single model."),
    claim("single-leak-follows-right-models", "3.2", "figure3",
          above(Trend(leak(ONE), lead("correct_confidence", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in the right models' confidence, the leak of a single model grows."),
    claim("ensemble-leak-follows-right-models", "3.2", "figure3",
          above(Trend(leak(MANY), lead("correct_confidence", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in the right models' confidence, the leak of the ensemble grows."),
    claim("single-leak-follows-wrong-models", "3.2", "figure3",
          above(Trend(leak(ONE), lead("misclassified_confidence", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in the wrong models' confidence, the leak of a single model grows."),
    claim("ensemble-leak-follows-wrong-models", "3.2", "figure3",
          above(Trend(leak(MANY), lead("misclassified_confidence", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in the wrong models' confidence, the leak of the ensemble grows."),
    claim("agreement-follows-gap", "1, 3.2", "figure3",  # for mean levels an identity: n times the mean gap
          above(Trend(lead("agreement", MANY | {"level": "all"}), Effect(GAP, ONE), EPOCHS)),
          "The wider the generalisation gap, the further the two sides are apart in agreement."),
    claim("agreement-parts-with-training", "3.2", "figure3",
          above(change(lambda when: lead("agreement", when | MANY | {"level": "all"}), LATE, EARLY)),
          "Members and non-members differ least in agreement while the models are underfitted."),
    claim("gap-widens-with-training", "3.2", "basics/overfitting", above(Effect(GAP, LATE, EARLY)),
          "With further training the generalisation gap widens.", stand_ins=(TEXTURES, DIGITS)),
    claim("levels-part-with-training", "A.2", "figure7", above(Effect("level_js", LATE_MANY | BOTH, EARLY_MANY | BOTH)),
          "The distributions of the level on members and on non-members part as the models overfit.",
          on=(SVHN, *CIFAR[:3])),
    claim("levels-part-with-training-on-cifar100", "A.2", "figure8",
          above(Effect("level_js", LATE_MANY | BOTH, EARLY_MANY | BOTH)),
          "On CIFAR-100 too, the distributions of the level part as the models overfit.", on=CIFAR[3:]),
    claim("easy-data-is-unanimous", "A.2", "figure9", at_least(Effect("unanimous", LATE_MANY | BOTH), 0.9),
          "On Adult, Texas and MNIST the models are nearly always all right or all wrong.",
          on=EASY, stand_ins=(DIGITS,), choice="our margin: nearly always is on more than 0.9 of the samples"),
)

BEYOND_THE_GAP = (  # sections 3.3 and 4.1, appendix A.1, Figures 4 and 6
    claim("single-attack-barely-beats-gap", "3.3", "figure1", at_most(over_gap(LATE_ONE), 0.05),
          "Against a single model the attack hardly beats the gap attack.",
          choice="our margin: by less than 0.05 of AUC is hardly"),
    claim("ensemble-attack-beats-gap", "3.3", "figure1", above(over_gap(LATE_MANY)),
          "Against an ensemble the attack beats the gap attack."),
    claim("lead-over-gap-grows", "3.3", "figure1", above(change(over_gap, LATE_MANY, LATE_ONE)),
          "The attack's lead over the gap attack grows by ensembling."),
    claim("gap-attack-falls", "4.1", "figure4", below(ensembling("auc", LATE | BLACK_BOX | BY_GAP)),
          "Ensembling can narrow the generalisation gap, so that the gap attack loses.", on=GAP_FALLS),
    claim("leak-rises-where-gap-falls", "4.1", "figure4", above(ensembling("auc", LATE | BLACK_BOX | ATTACK)),
          "Even where the gap attack loses by ensembling, the leak grows.",
          on=GAP_FALLS, given=(below(ensembling("auc", LATE | BLACK_BOX | BY_GAP)),)),
    claim("accuracy-rises-on-harder-data", "4.1", "figure4", above(ensembling("test_accuracy", LATE | BLACK_BOX)),
          "On all data sets but the easy ones, ensembling improves the accuracy.", on=HARDER),
    claim("leak-rises-on-harder-data", "abstract, 4.1", "figure4", above(ensembling("auc", LATE | BLACK_BOX | ATTACK)),
          "On all data sets but the easy ones, ensembling enlarges the leak.", on=HARDER),
    claim("easy-accuracy-unchanged", "4.1", "figure4", near(ensembling("test_accuracy", LATE | BLACK_BOX), 0.02),
          "On Adult, Texas and MNIST, ensembling hardly changes the accuracy.",
          on=EASY, stand_ins=(DIGITS,), choice=UNCHANGED),
    claim("easy-leak-unchanged", "4.1", "figure4", near(ensembling("auc", LATE | BLACK_BOX | ATTACK), 0.02),
          "On Adult, Texas and MNIST, ensembling hardly changes the leak.",
          on=EASY, stand_ins=(DIGITS,), choice=UNCHANGED),
    claim("underfitted-ensemble-more-private", "A.1", "figure6",
          below(leak(EARLY_MANY | BLACK_BOX, LATE_MANY | BLACK_BOX)),
          "Wherever ensembling pays, an ensemble of underfitted models leaks less.", on=HARDER),
    claim("underfitted-ensemble-less-accurate", "A.1", "figure6",
          below(Effect("test_accuracy", EARLY_MANY | BLACK_BOX, LATE_MANY | BLACK_BOX)),
          "Wherever ensembling pays, an ensemble of underfitted models is less accurate.", on=HARDER),
)

DEFENDED = (  # sections 2.1, 2.3 and 4.2, Figure 5
    *(claim(f"{method.replace('_', '-')}-lowers-leak", SECTIONS.get(method, BAGS), "figure5",
            below(defended(method, "auc")), f"{name} lowers the leak of an ensemble.")
      for method, name in DEFENSES.items()),
    *(claim(f"{method.replace('_', '-')}-costs-accuracy", SECTIONS.get(method, BAGS), "figure5",
            below(defended(method, "test_accuracy")), f"{name} costs an ensemble accuracy.")
      for method, name in DEFENSES.items()),
    claim("defenses-lie-on-one-curve", "4.2", "figure5",
          above(Trend(leak(MANY), Effect("test_accuracy", MANY), ("method", "strength", "epoch"))),
          "Over all defenses and strengths, the more accurate ensemble is the leakier one."),
    claim("heavy-l2-leaks-no-more", "4.2", "figure5",
          near(ensembling("auc", ATTACK | {"method": "l2", "strength": Last()}), 0.02),
          "Joining heavily regularised models adds hardly anything to the leak.", choice=UNCHANGED),
    claim("bagged-models-overfit-more", "4.2", "figure5", above(bagging(GAP, ONE)),
          "A bagged model sees fewer samples and so overfits more."),
    claim("bagging-is-as-accurate", "4.2", "figure5", near(bagging("test_accuracy", MANY), 0.02),
          "After 30 epochs, plain and bagged ensembles are about equally accurate.", choice=UNCHANGED),
    claim("bagging-leaks-more-at-equal-accuracy", "4.2", "figure5",
          above(Effect("auc_above_plain", ATTACK | MANY | {"epoch": 30, "method": "bagging"})),
          "At equal accuracy, the bagged ensemble leaks more than the plain one."),
)

OTHER_ENSEMBLES = (  # appendices A.3 to A.5, Figures 10 to 13
    claim("logit-leak-rises", "A.3", "figure10",
          above(ensembling("auc", LATE | ATTACK | BLACK_BOX | AS_TRAINED | {"fusion": "logit"})),
          "An ensemble that averages logits leaks more than one model.", on=CIFAR),
    claim("logits-leak-less", "A.3", "figure10", below(logits("auc", ATTACK | BLACK_BOX | AS_TRAINED)),
          "To those who see the average only, averaged logits leak less than averaged confidences.", on=CIFAR),
    claim("logits-leak-slightly-less", "A.3", "figure10",
          at_least(logits("auc", ATTACK | BLACK_BOX | AS_TRAINED), -0.05),
          "What averaging logits gains is slight.", on=CIFAR, choice=SLIGHT),
    claim("logits-leak-alike-in-white-box", "A.3", "figure10",
          near(logits("auc", ATTACK | {"access": "white box"} | AS_TRAINED), 0.02),
          "To those who see every model's output, averaging logits protects nothing.", on=CIFAR, choice=UNCHANGED),
    claim("logits-can-be-rescaled", "A.3", "figure10",
          above(logits("changed", {"access": "black box", "rescaled": True})),
          "A constant factor on one model's logits sways their average more than that of the confidences.", on=CIFAR),
    claim("weighted-accuracy-rises", "A.4", "figure11",
          above(ensembling("test_accuracy", LATE | BLACK_BOX | {"fusion": "weighted"})),
          "Averaging with learnt weights improves the accuracy.", on=(SVHN, *CIFAR)),
    claim("weighted-leak-rises", "A.4", "figure11",
          above(ensembling("auc", LATE | ATTACK | BLACK_BOX | {"fusion": "weighted"})),
          "Averaging with learnt weights enlarges the leak.", on=(SVHN, *CIFAR)),
    claim("snapshot-accuracy-rises", "A.5", "figure12",
          above(ensembling("test_accuracy", LATE | TO_ALL | {"method": "snapshot"})),
          "Joining the snapshots of one training improves the accuracy.", on=CIFAR),
    claim("snapshot-leak-rises", "abstract, A.5", "figure12",
          above(ensembling("auc", LATE | ATTACK | TO_ALL | {"method": "snapshot"})),
          "Joining the snapshots of one training enlarges the leak.", on=CIFAR),
    claim("diversified-leak-follows-accuracy", "abstract, A.5", "figure13",
          above(Trend(leak(LATE | TO_ALL | {"method": "diversified"}),
                      Effect("test_accuracy", LATE | TO_ALL | {"method": "diversified"}), ("models",))),
          "As models are added to a diversified ensemble, its leak goes with its accuracy.", on=(SVHN, *CIFAR)),
)
# fmt: on

CLAIMS = (*TRADE_OFF, *HISTOGRAMS, *AGREEMENT, *BEYOND_THE_GAP, *DEFENDED, *OTHER_ENSEMBLES)
