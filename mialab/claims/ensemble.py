"""The testable sentences of the ensemble paper.

What no number can test is left out: definitions, what others are said to have done, plans for later work, and what
depends on code that nobody has (the exact accuracies of diversified ensembles). A verdict is of one data set, so that
of comparisons between data sets what they say of each stands here, on condition ("where the gap is wide"). No row
measures how many models have a say in a mean of logits (A.3), for which an ensemble of half the models stands in, and
none has the diversity term at its full weight, which is said to stop training (A.5).

Whose probability "confidence" is, the paper does not say. Here it is the true class's. Claims whose id ends in
"-as-largest" ask the same of the largest one, that of the class that the ensemble answers. Where the text speaks of
members and of non-members, each side has its claim.

Columns that its experiments are read by, besides data, model, method, epoch, models, fusion, attack and seed:
reading    of confidence: "true", the true class's probability, or "max", that of the ensemble's answer
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
division   of the training set among the models: "bagging"; none is all of it to each
membership "its own rows": of one model alone, only what it has seen counts as a member
Values: auc, train_accuracy, test_accuracy; js (nats); confidence (the mean of a side's samples; members_confidence and
nonmembers_confidence where one row has both), correct_confidence and misclassified_confidence (the same over the models
that are right, or wrong); lead (members' less non-members' confidence), absolute_lead (of each level by itself,
whatever its sign) and chance_lead (what the latter is if membership says nothing); confidence_auc (that of confidence
by itself); agreement (mean level), level_js (between the sides' levels), unanimous (share of samples on which all
models or none are right); share (of a side's samples), contribution (of a factor), changed (share of predictions),
auc_above_plain (AUC less that of the plain ensemble of the same accuracy).
"""

from mialab.claims.claim import (
    Claim,
    Criterion,
    Effect,
    First,
    Last,
    Lowest,
    Middle,
    Trend,
    above,
    at_least,
    at_most,
    below,
    near,
)

ALEXNET = ({"data": "cifar10", "model": "alexnet"},)
NETS = ("alexnet", "resnet20", "densenet100")  # all that the paper names; which data set has which, it leaves open
CIFAR = tuple({"data": data, "model": net} for data in ("cifar10", "cifar100") for net in NETS)
SVHN = {"data": "svhn", "model": NETS}
SMALLER = ({"data": "purchase100", "model": "tabular"}, {"data": "fashion-mnist", "model": "lenet5"})
IMAGENET = {"data": "imagenet", "model": "resnet18"}  # the architecture is our choice
HARDER = (*SMALLER, SVHN, *CIFAR, IMAGENET)  # the data sets on which ensembling is said to help
EASY = (
    {"data": "adult", "model": "tabular"},
    {"data": "texas100", "model": "tabular"},
    {"data": "mnist", "model": "lenet5"},
)
EVERYWHERE = (*HARDER, *EASY)
AUTHORS_OWN = ({"data": "cifar10", "model": "resnet20"},)  # the networks that they released
GAP_FALLS = ({"data": "cifar10", "model": "densenet100"}, {"data": "cifar100", "model": ("alexnet", "resnet20")})

TEXTURES = {"data": "textures", "model": "small_cnn"}
DIGITS = {"data": "digits", "model": "tabular"}

BY_FIGURE = {  # figure -> of what appendix A.2 draws it; textures would say once more what they say of Figure 3
    "figure7": ("on SVHN and CIFAR-10", (SVHN, *CIFAR[:3]), ()),
    "figure8": ("on CIFAR-100 and ImageNet", (*CIFAR[3:], IMAGENET), ()),
    "figure9": ("on tables, MNIST and Fashion-MNIST", (*EASY, *SMALLER), (DIGITS,)),
}

ATTACK, BY_CONFIDENCE, BY_GAP = {"attack": "neural-published"}, {"attack": "confidence"}, {"attack": "gap"}
BLACK_BOX = {"access": "black box", "choice": ("random", "all")}  # of Figures 4 and 6, which show both, and prefixes
TO_ALL = {"access": "black box"}  # of Figures 12 and 13, where there is one ensemble of each size
PLAIN = ATTACK | BLACK_BOX | {"rescaled": None}
AS_TRAINED = {"rescaled": None}  # of Figure 10, which shows a model's logits multiplied by a constant, too
ONE, MANY = {"models": 1}, {"models": Last()}
EARLY, HALFWAY, LATE = {"epoch": First()}, {"epoch": Middle()}, {"epoch": Last()}
EARLY_ONE, EARLY_MANY, LATE_ONE, LATE_MANY = EARLY | ONE, EARLY | MANY, LATE | ONE, LATE | MANY
WHOLE, CORRECT, MISCLASSIFIED = ({"subset": subset, "label": "all"} for subset in ("all", "correct", "misclassified"))
EVERY, MATCHED, LOWEST = (LATE_MANY | {"level": level} for level in ("all", "matched", "lowest"))
TOGETHER = {"side": "both"}
BOTH = TOGETHER | {"level": "all"}  # what is said of members and non-members together
TRUE_CLASS, LARGEST = {"reading": "true"}, {"reading": "max"}
CLASS_2 = {"label": 2}
STEPS = ((1, 2), (2, 5), (5, 10))  # from one size of ensemble to the next
GAP = ("train_accuracy", "test_accuracy")
EPOCHS = ("epoch",)

GUESSING = "0.5 is guessing"
SLIGHT = "our margin: less than 0.05 is slight"
UNCHANGED = "our margin: a change of less than 0.02 counts as none"
AT_ODDS = "section 4.2 has hardly any rise there; by our margins, not both can hold"
MUCH = "our margin: more than 0.05 is much"
OF_TRUE_CLASS = "our reading: confidence is the true class's probability"
OF_LARGEST = (
    "our reading: confidence is the largest probability; the networks are the authors' own, trained once, on which no "
    "interval over trainings can be had"
)
EVEN_CHANCE = "; what membership that says nothing makes of it is taken off, which favours the sentence"
WHERE_IT_PAYS = "on the data sets on which ensembling is said to pay: our choice"
SEVERAL = "on CIFAR: our choice; the text says several data sets, the caption all"
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
CHANGING = tuple(method for method in DEFENSES if method != "early_stop")  # that lies on the plain ensemble's curve


def claim(
    id, section, figure, test, sentence, *, on=ALEXNET, stand_ins=(TEXTURES,), also=(), given=(), choice=""
) -> Claim:
    """A claim of the ensemble paper, about AlexNet on CIFAR-10 unless it says otherwise."""
    name = figure if "/" in figure else f"ensemble/{figure}"
    further = {"also": also, "given": given, "choice": choice}
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


def towards_middle(value: str, where: dict, start: str) -> tuple[Criterion, Criterion]:
    """That ensembling moves a mean confidence towards 0.5, and that one model's lies on that side of it."""
    shift, single = ensembling(value, LATE | where), Effect(value, LATE_ONE | where)
    return (below(shift), at_least(single, 0.5)) if start == "above" else (above(shift), at_most(single, 0.5))


def change(effect, into: dict, out_of: dict) -> Effect:
    """By how much a difference, `effect(where)`, is larger in one case than in another."""
    new, old = effect(into), effect(out_of)
    return Effect(new.value, of=(new.of, old.minus), minus=(new.minus, old.of))


def at_each_step(value: str, when: dict) -> dict:
    """The tests that a value rises from each size of an ensemble to the next."""
    attack = ATTACK if value == "auc" else {}
    sizes = [({"models": fewer}, {"models": more}) for fewer, more in STEPS]
    test, *also = (above(Effect(value, when | attack | more, when | attack | fewer)) for fewer, more in sizes)
    return {"test": test, "also": tuple(also)}


def wider_lead(level: dict, reading: dict = TRUE_CLASS) -> Effect:
    """By how much members' lead in confidence is wider than at equal levels, where leads of any sign count."""
    return Effect("lead", level | TOGETHER | reading, MATCHED | TOGETHER | reading, less="absolute_lead")


def over_gap(where: dict) -> Effect:
    """The attack's AUC above that of the gap attack."""
    return Effect("auc", of=where | ATTACK, minus=where | BY_GAP)


def defended(method: str, value: str) -> Effect:
    """What a defense, at its strongest and fully trained, changes in the largest ensemble."""
    strongest = {"method": method, "strength": Last()} | ({} if method == "early_stop" else LATE)
    attack = ATTACK if value == "auc" else {}
    return Effect(value, of=MANY | strongest | attack, minus=LATE_MANY | {"method": "none"} | attack)


def bagging(value) -> Effect:
    """What bagging changes after 30 epochs, the only number of them that the paper states for it."""
    bagged, plain = ({"epoch": 30, "method": method} for method in ("bagging", "none"))
    return Effect(value, of=MANY | bagged, minus=MANY | plain)


def logits(value: str, where: dict) -> Effect:
    """What averaging logits rather than confidences changes in the largest ensemble."""
    logit, confidence = (LATE_MANY | where | {"fusion": fusion} for fusion in ("logit", "confidence"))
    return Effect(value, of=logit, minus=confidence)


BY_ARITHMETIC = "by arithmetic, the sides' difference is the models' number times their mean generalisation gap"
ITS_UNIT = "the paper's divergences have no unit; ours are in nats"
# How "confidence" may be read: what the id ends in, the experiments of Figures 2 and 3, filter, the paper's setting,
# choice, and words.
READINGS = (
    ("", ("figure2", "figure3"), TRUE_CLASS, ALEXNET, OF_TRUE_CLASS, ""),
    ("-as-largest", ("released_agreement",) * 2, LARGEST, AUTHORS_OWN, OF_LARGEST, ", read as the largest probability"),
)

# Two or three lines a claim, to be read at a glance: name, section, experiment, test; then the sentence.
# fmt: off
TRADE_OFF = (  # introduction, Figure 1
    claim("members-get-more-confidence", "1", "basics/overfitting", above(Effect("auc", LATE | BY_CONFIDENCE), 0.5),
          "A trained model is surer of its training samples than of fresh ones.",
          choice=GUESSING, stand_ins=(TEXTURES, DIGITS)),
    claim("ensemble-accuracy-rises", "1", "figure1", above(ensembling("test_accuracy", LATE)),
          "An ensemble is right more often than a single one of its models."),
    *(claim(f"{name}-rises-at-each-step-{end}", "1", "figure1", sentence=f"From one model to two, five and ten {verb}, "
            f"{words}.", choice=AT_ODDS if (value, end) == ("auc", "early") else "", **at_each_step(value, when))
      for name, value, verb in (("accuracy", "test_accuracy", "an ensemble is right more often at each step"),
                                ("leak", "auc", "the attack succeeds more often at each step"))
      for end, when, words in (("early", EARLY, "after few epochs"), ("halfway", HALFWAY, "half-way through training"),
                               ("late", LATE, "after the whole training"))),
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
    claim("overfitted-ensembling-leaks-much", "4.2", "figure1", at_least(ensembling("auc", LATE | ATTACK), 0.05),
          "Joining overfitted models adds much to the leak.", choice=MUCH),
    claim("threshold-leak-rises", "2.2", "figure1", above(ensembling("auc", LATE | BY_CONFIDENCE)),
          "A threshold on confidence, too, tells members of an ensemble better than those of one model."),
    *(claim(f"{name}-leak-rises", "2.2", "lira", above(ensembling("auc", LATE | {"attack": attack})),
            f"{words}, too, finds more in an ensemble than in one model.",
            choice="the sentence is about any attack on confidences; this one is our choice")
      for name, attack, words in (
          ("entropy", "modified-entropy-per-class", "An attack on the entropy, with a threshold for each class"),
          ("likelihood", "lira-online-fixed", "LiRA, a later attack whose shadows are ensembles"))),
    claim("wider-gap-larger-leak", "3.2", "figure1", above(Trend(leak(MANY), Effect(GAP, ONE), EPOCHS)),
          "The wider the generalisation gap of the single models, the larger the leak of their ensemble."),
    claim("fewer-models-leak-less", "A.3", "figure1", below(leak(LATE | {"models": 2}, LATE_MANY)),
          "An ensemble of fewer models leaks less than one of more."),
)

HISTOGRAMS = (  # sections 3.1 to 3.3, Figure 2
    *(one
      for end, (figure, _), reading, on, choice, words in READINGS
      for one in (
          *(claim(f"{subset}-{side}-shift-to-centre{end}", "3.1", figure,
                  towards_middle(f"{side}_confidence", reading | where, start)[0],
                  f"Ensembling draws the confidence in {adjective} {side} from {start} 0.5 towards it{words}.",
                  on=on, given=towards_middle(f"{side}_confidence", reading | where, start)[1:],
                  choice=f"our margin: the middle is 0.5, {start} which a single model starts; {choice}")
            for subset, adjective, where, start in (
                ("correct", "correctly classified", CORRECT, "above"),
                ("misclassified", "misclassified", MISCLASSIFIED, "above" if reading == LARGEST else "below"))
            for side in ("members", "nonmembers")),
          claim(f"js-rises{end}", "1, 2.2", figure, above(ensembling("js", LATE | reading | WHOLE)),
                f"Ensembling drives the confidence in members and in non-members apart{words}.", on=on, choice=choice),
          claim(f"js-rises-correct{end}", "3.3", figure, above(ensembling("js", LATE | reading | CORRECT)),
                f"Ensembling drives the confidence apart on correctly classified samples by themselves{words}.",
                on=on, choice=choice),
          claim(f"js-rises-misclassified{end}", "3.3", figure, above(ensembling("js", LATE | reading | MISCLASSIFIED)),
                f"Ensembling drives the confidence apart on misclassified samples by themselves{words}.",
                on=on, choice=choice),
          claim(f"alike-when-correct{end}", "3.2, 3.3", figure,
                near(Effect("auc", LATE_ONE | BY_CONFIDENCE | reading | CORRECT), 0.05, 0.5),
                f"On what one model classifies correctly, its confidence hardly tells members from non-members{words}.",
                on=on, choice=f"0.5 is guessing; our margin: within 0.05 of it is hardly; {choice}"),
          claim(f"different-when-misclassified{end}", "3.2", figure,
                above(Effect("auc", LATE_ONE | BY_CONFIDENCE | reading | MISCLASSIFIED), 0.5),
                "On what one model misclassifies, its confidence tells members from non-members to some degree"
                f"{words}.", on=on, choice=f"{GUESSING}; {choice}"),
          claim(f"little-different-when-misclassified{end}", "3.2, 3.3", figure,
                at_most(Effect("auc", LATE_ONE | BY_CONFIDENCE | reading | MISCLASSIFIED), 0.6),
                f"What confidence tells about misclassified samples is little{words}.",
                on=on, choice=f"our margin: an AUC below 0.6 is little; {choice}"),
          *(claim(f"{part}-part-differs-less-than-whole{end}", "3.3", figure,
                  above(Effect("js", LATE_ONE | reading | WHOLE, LATE_ONE | reading | WHOLE | {"subset": part})),
                  f"In one model, the two sides differ more over all samples than over the {adjective} ones{words}.",
                  on=on, choice=choice)
            for part, adjective in (("correct", "correctly classified"), ("misclassified", "misclassified"))))),
    *(claim(f"js-rises{end}-in-class-2", "3.1, 3.3", "figure2", above(ensembling("js", LATE | where | CLASS_2)),
            f"In class 2, which Figure 2 draws, ensembling drives the confidence apart on {words}.", choice=ITS_UNIT)
      for end, where, words in (("", WHOLE, "all samples"),
                                ("-correct", CORRECT, "correctly classified samples by themselves"),
                                ("-misclassified", MISCLASSIFIED, "misclassified samples by themselves"))),
    *(claim(f"{part}-part-differs-less-than-whole-in-class-2", "3.3", "figure2",
            above(Effect("js", LATE_ONE | WHOLE | CLASS_2, LATE_ONE | WHOLE | CLASS_2 | {"subset": part})),
            f"In class 2 one model's two sides differ more over all samples than over the {words} ones.",
            choice=ITS_UNIT)
      for part, words in (("correct", "correctly classified"), ("misclassified", "misclassified"))),
)

AGREEMENT = (  # section 3.2, appendix A.2, Figures 3 and 7 to 9
    claim("members-agree-more", "1, 3.2", "figure3", above(lead("agreement", EVERY)),
          "More of the models are right about a member than about a non-member.", choice=BY_ARITHMETIC),
    *(one
      for end, (_, figure), reading, on, choice, words in READINGS
      for one in (
          claim(f"right-models-are-surer{end}", "3.2", figure,
                above(Effect(("correct_confidence", "misclassified_confidence"), LATE_MANY | reading | BOTH)),
                f"Models that are right about a sample are surer than those that are wrong{words}.",
                on=on, choice=choice),
          claim(f"ensemble-surer-of-members{end}", "3.2", figure, above(lead("confidence", EVERY | reading)),
                f"The ensemble's confidence is lower on non-members{words}.", on=on, choice=choice),
          claim(f"alike-at-equal-agreement{end}", "3.2", figure,
                at_most(Effect(("absolute_lead", "chance_lead"), MATCHED | TOGETHER | reading), 0.02),
                "Whatever the number of models that are right, members and non-members among the samples of that "
                f"number get nearly the same confidence{words}.",
                on=on, choice=f"our margin: less than 0.02 on average over levels is nearly none{EVEN_CHANCE}; "
                f"{choice}"),
          claim(f"lead-is-wider-over-all-levels{end}", "3.2", figure, above(wider_lead(EVERY, reading)),
                "The members' lead in confidence is wider over all samples than the sides are apart at equal agreement"
                f"{words}.", on=on, choice=choice),
          claim(f"agreement-beats-right-models{end}", "1, 3.2", figure,
                above(Effect("contribution", LATE_MANY | reading | {"factor": "agreement"},
                             LATE_MANY | reading | {"factor": "correct"})),
                "Agreement explains more of the members' lead than the confidence of the models that are right"
                f"{words}.", on=on, choice=choice),
          claim(f"agreement-beats-wrong-models{end}", "1, 3.2", figure,
                above(Effect("contribution", LATE_MANY | reading | {"factor": "agreement"},
                             LATE_MANY | reading | {"factor": "misclassified"})),
                "Agreement explains more of the members' lead than the confidence of the models that are wrong"
                f"{words}.", on=on, choice=choice))),
    claim("lead-is-wider-at-lowest-levels", "3.2", "figure3", above(wider_lead(LOWEST)),
          "Where hardly any model is right, the members' lead is wider than the sides are apart at equal agreement.",
          choice=OF_TRUE_CLASS),
    claim("lowest-levels-are-rare", "3.2", "figure3", at_most(Effect("share", LOWEST | {"side": "members"}), 0.05),
          "Members about which hardly any model is right are a tiny part.",
          choice="our margin: less than 0.05 of all members, at both levels together, is tiny"),
    claim("equal-levels-leak-as-one-model", "3.2", "figure3",
          at_most(Effect("confidence_auc", MATCHED | TOGETHER, LATE_ONE | BY_CONFIDENCE, less="auc"), 0.02),
          "Were the levels alike on both sides, the ensemble's confidence would tell no more than that of one model.",
          choice="our margin: by less than 0.02 is no more; levels are made alike by weights, and an AUC below 0.5, "
          "which an attacker could turn round, counts as it stands: our choice"),
    claim("no-gain-while-levels-are-alike", "3.2", "figure3",
          at_most(ensembling("auc", EARLY | ATTACK), 0.02),
          "Only where the two sides are apart in agreement does the attack on an ensemble outrun that on one model.",
          given=(at_most(lead("agreement", EARLY_MANY | {"level": "all"}), 1.0),),
          choice="our margin: a gain of less than 0.02 is none, and sides less than one model of ten apart are alike; "
          "asked at the first epoch"),
    claim("gain-follows-agreement", "1, 3.2", "figure3",
          above(Trend(ensembling("auc", ATTACK), lead("agreement", MANY | {"level": "all"}), EPOCHS)),
          "As the two sides part in agreement, the attack on the ensemble outruns that on a single model.",
          choice=f"{BY_ARITHMETIC}, so that this is a trend along the gap, too"),
    *(claim(f"{size}-leak-follows-{part}-models", "3.2", "figure3",
            above(Trend(leak(models), lead(f"{name}_confidence", MANY | {"level": "all"}), EPOCHS)),
            f"As the two sides part in the {part} models' confidence, the leak of {words} grows.",
            choice=OF_TRUE_CLASS)
      for part, name in (("right", "correct"), ("wrong", "misclassified"))
      for size, models, words in (("single", ONE, "a single model"), ("ensemble", MANY, "the ensemble"))),
    claim("agreement-follows-gap", "1, 3.2", "figure3",
          above(Trend(Effect("level_js", MANY | BOTH), Effect(GAP, ONE), EPOCHS)),
          "The wider the generalisation gap, the further the two sides are apart in agreement.",
          choice="for the mean level this is arithmetic; so it is asked of the whole distribution: our choice"),
    claim("agreement-parts-with-training", "3.2", "figure3",
          above(change(lambda when: lead("agreement", when | MANY | {"level": "all"}), LATE, EARLY)),
          "Members and non-members differ least in agreement while the models are underfitted.", choice=BY_ARITHMETIC),
    claim("gap-widens-with-training", "3.2", "basics/overfitting", above(Effect(GAP, LATE, EARLY)),
          "With further training the generalisation gap widens.", stand_ins=(TEXTURES, DIGITS)),
    *(one
      for figure, (words, on, stand_ins) in BY_FIGURE.items()
      for one in (
          claim(f"levels-part-with-training-in-{figure}", "A.2", figure,
                above(Effect("level_js", LATE_MANY | BOTH, EARLY_MANY | BOTH)),
                f"The distributions of the level on the two sides part as the models overfit, {words}.",
                on=on, stand_ins=(TEXTURES,) if figure == "figure7" else stand_ins),
          claim(f"members-agree-more-in-{figure}", "3.2, A.2", figure, above(lead("agreement", EVERY)),
                f"More of the models are right about members, {words}, too.",
                on=on, stand_ins=stand_ins, choice=BY_ARITHMETIC),
          claim(f"alike-at-equal-agreement-in-{figure}", "3.2, A.2", figure,
                at_most(Effect(("absolute_lead", "chance_lead"), MATCHED | TOGETHER), 0.02),
                f"At each level the two sides get nearly the same confidence, {words}, too.",
                on=on, stand_ins=stand_ins,
                choice="our reading of a caption, which says what is drawn; our margin: less than 0.02 on average over "
                f"levels is nearly none{EVEN_CHANCE}"))),
    *(claim(f"gain-follows-agreement-in-{figure}", "3.2, A.2", figure,
            above(Trend(ensembling("auc", ATTACK), lead("agreement", MANY | {"level": "all"}), EPOCHS)),
            f"As the sides part in agreement, the attack on the ensemble outruns that on one model, {words}, too.",
            on=on, stand_ins=(), choice="our reading of a caption, which says what is drawn")
      for figure, words, on in (*((name, *BY_FIGURE[name][:2]) for name in ("figure7", "figure8")),
                                ("figure9", "on Purchase and Fashion-MNIST", SMALLER))),
    claim("easy-data-is-unanimous", "4.1, A.2", "figure9", at_least(Effect("unanimous", LATE_MANY | BOTH), 0.9),
          "On Adult, Texas and MNIST the models are nearly always all right or all wrong.",
          on=EASY, stand_ins=(DIGITS,), choice="our margin: nearly always is on more than 0.9 of the samples"),
    claim("no-gain-without-disagreement", "3.1, A.2", "figure9",
          near(ensembling("test_accuracy", LATE | BLACK_BOX), 0.02),
          "Where the models are all right or all wrong, ensembling does not improve the accuracy.",
          on=EASY, stand_ins=(DIGITS,), given=(at_least(Effect("unanimous", LATE_MANY | BOTH), 0.9),),
          choice="our margin: that holds where they are so on more than 0.9 of the samples; a change of less than 0.02 "
          "counts as none"),
)

BEYOND_THE_GAP = (  # sections 3.3 and 4.1, appendix A.1, Figures 4 and 6
    claim("single-attack-barely-beats-gap", "3.3", "figure4", at_most(over_gap(LATE_ONE | BLACK_BOX), 0.05),
          "Against a single model the attack hardly beats the gap attack.",
          on=HARDER, choice=f"our margin: by less than 0.05 of AUC is hardly; {WHERE_IT_PAYS}"),
    claim("ensemble-attack-beats-gap", "3.3", "figure4", above(over_gap(LATE_MANY | BLACK_BOX)),
          "Against an ensemble the attack beats the gap attack.", on=HARDER, choice=WHERE_IT_PAYS),
    claim("lead-over-gap-grows", "3.3", "figure4",
          above(change(over_gap, LATE_MANY | BLACK_BOX, LATE_ONE | BLACK_BOX)),
          "The attack's lead over the gap attack grows by ensembling.", on=HARDER, choice=WHERE_IT_PAYS),
    claim("gap-attack-falls", "4.1", "figure4", below(ensembling("auc", LATE | BLACK_BOX | BY_GAP)),
          "Ensembling can narrow the generalisation gap, so that the gap attack loses.", on=GAP_FALLS),
    claim("leak-rises-where-gap-falls", "4.1", "figure4", above(ensembling("auc", LATE | BLACK_BOX | ATTACK)),
          "Even where the gap attack loses by ensembling, the leak grows.",
          on=GAP_FALLS, given=(below(ensembling("auc", LATE | BLACK_BOX | BY_GAP)),)),
    claim("wide-gap-large-gain", "4.1", "figure4", at_least(ensembling("auc", LATE | BLACK_BOX | ATTACK), 0.05),
          "Where a single model's generalisation gap is wide, ensembling adds much to the leak.",
          on=HARDER, given=(at_least(Effect(GAP, LATE_ONE | BLACK_BOX), 0.1),),
          choice=f"our margin: a gap of more than 0.1 is wide, and more than 0.05 of AUC is much; {WHERE_IT_PAYS}"),
    claim("accuracy-rises-on-harder-data", "4.1", "figure4", above(ensembling("test_accuracy", LATE | BLACK_BOX)),
          "On all data sets but the easy ones, ensembling improves the accuracy.", on=HARDER),
    claim("leak-rises-on-harder-data", "4.1", "figure4", above(ensembling("auc", LATE | BLACK_BOX | ATTACK)),
          "On all data sets but the easy ones, ensembling enlarges the leak.", on=HARDER),
    claim("easy-accuracy-unchanged", "4.1", "figure4", near(ensembling("test_accuracy", LATE | BLACK_BOX), 0.02),
          "On Adult, Texas and MNIST, ensembling hardly changes the accuracy.",
          on=EASY, stand_ins=(DIGITS,), choice=UNCHANGED),
    claim("easy-leak-unchanged", "4.1", "figure4", near(ensembling("auc", LATE | BLACK_BOX | ATTACK), 0.02),
          "On Adult, Texas and MNIST, ensembling hardly changes the leak.",
          on=EASY, stand_ins=(DIGITS,), choice=UNCHANGED),
    claim("underfitted-ensemble-more-private", "A.1", "figure6",
          below(leak(EARLY_MANY | BLACK_BOX, LATE_MANY | BLACK_BOX)),
          "Wherever ensembling pays, an ensemble of underfitted models leaks less.",
          on=HARDER, given=(above(ensembling("test_accuracy", LATE | BLACK_BOX)),)),
    claim("underfitted-ensemble-less-accurate", "A.1", "figure6",
          below(Effect("test_accuracy", EARLY_MANY | BLACK_BOX, LATE_MANY | BLACK_BOX)),
          "Wherever ensembling pays, an ensemble of underfitted models is less accurate.",
          on=HARDER, given=(above(ensembling("test_accuracy", LATE | BLACK_BOX)),)),
)

DEFENDED = (  # sections 2.1, 2.3 and 4.2, Figure 5
    *(claim(f"{method.replace('_', '-')}-lowers-leak", SECTIONS.get(method, BAGS), "figure5",
            below(defended(method, "auc")), f"{name} lowers the leak of an ensemble.")
      for method, name in DEFENSES.items()),
    *(claim(f"{method.replace('_', '-')}-costs-accuracy", SECTIONS.get(method, BAGS), "figure5",
            below(defended(method, "test_accuracy")), f"{name} costs an ensemble accuracy.",
            choice="at the strongest setting of our grid, which may ruin the models")
      for method, name in DEFENSES.items()),
    claim("defenses-lie-on-one-curve", "4.2", "figure5",
          above(Trend(leak(MANY), Effect("test_accuracy", MANY), ("method", "strength", "epoch"))),
          "Over all defenses and strengths, the more accurate ensemble is the leakier one."),
    claim("some-defense-leaks-less-at-equal-accuracy", "4.2", "figure5",
          below(Lowest(Effect("auc_above_plain", ATTACK | MANY | {"method": CHANGING}),
                       ("method", "strength", "epoch"))),
          "For a given accuracy, some defense leaks less than the plain ensemble.",
          choice="our reading: less than the plain ensemble, where the paper's one example leaks more; the defense, "
          "its strength and epoch are chosen on half of the seeds and measured on the others; a defense that is more "
          "accurate than the plain ensemble at any epoch has no equal there and is left out"),
    claim("heavy-l2-leaks-no-more", "4.2", "figure5",
          near(ensembling("auc", ATTACK | {"method": "l2", "strength": Last()}), 0.02),
          "Joining heavily regularised models adds hardly anything to the leak.", choice=UNCHANGED),
    claim("gain-is-smaller-under-heavy-l2", "4.2", "figure5",
          above(change(lambda how: ensembling("auc", ATTACK | how), LATE | {"method": "none"},
                       {"method": "l2", "strength": Last()})),
          "The rate is not constant: ensembling adds more to the leak of overfitted models than of heavily regularised "
          "ones."),
    claim("bagged-models-overfit-more", "4.2", "divisions",
          above(Effect(GAP, LATE_ONE | {"division": "bagging", "membership": "its own rows"},
                       LATE_ONE | {"division": None, "membership": None})),
          "A bagged model sees fewer samples and so overfits more.",
          choice="train accuracy is that on the model's own bag; after the whole training, not 30 epochs: our choice"),
    claim("bagging-is-as-accurate", "4.2", "figure5", near(bagging("test_accuracy"), 0.02),
          "After 30 epochs, plain and bagged ensembles are about equally accurate.", choice=UNCHANGED),
    claim("bagging-leaks-more-at-equal-accuracy", "4.2", "figure5",
          above(Effect("auc_above_plain", ATTACK | MANY | {"epoch": 30, "method": "bagging"})),
          "At equal accuracy, the bagged ensemble leaks more than the plain one."),
)

OTHER_ENSEMBLES = (  # appendices A.3 to A.5, Figures 10 to 13
    claim("logit-leak-rises", "A.3", "figure10",
          above(ensembling("auc", LATE | ATTACK | BLACK_BOX | AS_TRAINED | {"fusion": "logit"})),
          "An ensemble that averages logits leaks more than one model.", on=HARDER, choice=WHERE_IT_PAYS),
    claim("logits-leak-less", "A.3", "figure10", below(logits("auc", ATTACK | BLACK_BOX | AS_TRAINED)),
          "To those who see the average only, averaged logits leak less than averaged confidences.",
          on=HARDER, choice=WHERE_IT_PAYS),
    claim("logits-leak-slightly-less", "A.3", "figure10",
          at_least(logits("auc", ATTACK | BLACK_BOX | AS_TRAINED), -0.05),
          "What averaging logits gains is slight.", on=HARDER, choice=f"{SLIGHT}; {WHERE_IT_PAYS}"),
    claim("logits-leak-as-a-part-of-the-models", "A.3", "figure10",
          at_most(Effect("auc", LATE_MANY | PLAIN | {"fusion": "logit"},
                         LATE | PLAIN | {"models": 5, "fusion": "confidence"}), 0.02),
          "Averaging the logits of all models leaks no more than averaging the confidences of only a part of them.",
          on=HARDER, choice="our reading: a part is half of ten; our margin: by less than 0.02 is no more; "
          + WHERE_IT_PAYS),
    claim("logits-leak-alike-in-white-box", "A.3", "figure10",
          near(logits("auc", ATTACK | {"access": "white box"} | AS_TRAINED), 0.02),
          "To those who see every model's output, averaging logits protects nothing.",
          on=EVERYWHERE, stand_ins=(TEXTURES, DIGITS), choice=UNCHANGED),
    claim("logits-can-be-rescaled", "A.3", "figure10",
          above(logits("changed", {"access": "black box", "rescaled": True})),
          "A constant factor on one model's logits sways their average more than that of the confidences.",
          on=EVERYWHERE, stand_ins=(TEXTURES, DIGITS)),
    claim("weighted-accuracy-rises", "A.4", "figure11",
          above(ensembling("test_accuracy", LATE | BLACK_BOX | {"fusion": "weighted"})),
          "Averaging with learnt weights improves the accuracy.", on=(SVHN, *CIFAR)),
    claim("weighted-leak-rises", "A.4", "figure11",
          above(ensembling("auc", LATE | ATTACK | BLACK_BOX | {"fusion": "weighted"})),
          "Averaging with learnt weights enlarges the leak.", on=(SVHN, *CIFAR)),
    claim("snapshot-accuracy-rises", "A.5", "figure12",
          above(ensembling("test_accuracy", LATE | TO_ALL | {"method": "snapshot"})),
          "Joining the snapshots of one training improves the accuracy.", on=CIFAR, choice=SEVERAL),
    claim("snapshot-leak-rises", "abstract, A.5", "figure12",
          above(ensembling("auc", LATE | ATTACK | TO_ALL | {"method": "snapshot"})),
          "Joining the snapshots of one training enlarges the leak.", on=CIFAR, choice=SEVERAL),
    claim("more-backbones-may-be-less-accurate", "A.5", "figure13",
          below(Effect("test_accuracy", LATE | TO_ALL | {"method": "diversified"} | {"models": 10},
                       LATE | TO_ALL | {"method": "diversified"} | {"models": 5})),
          "With the epochs fixed, a diversified ensemble of more models is sometimes less accurate.",
          on=(SVHN, *CIFAR), choice="asked of the step from five models to ten: our choice; a rise there does not show "
          "that there is none elsewhere"),
    claim("diversified-leak-follows-accuracy", "abstract, A.5", "figure13",
          above(Trend(leak(LATE | TO_ALL | {"method": "diversified"}),
                      Effect("test_accuracy", LATE | TO_ALL | {"method": "diversified"}), ("models",))),
          "As models are added to a diversified ensemble, its leak goes with its accuracy.", on=(SVHN, *CIFAR)),
)
# fmt: on

CLAIMS = (*TRADE_OFF, *HISTOGRAMS, *AGREEMENT, *BEYOND_THE_GAP, *DEFENDED, *OTHER_ENSEMBLES)
