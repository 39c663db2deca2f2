"""The testable sentences of the pruning paper.

What no number can test is left out: the motivation, what others are said to have done, the algebra of the gain, and the
per-layer rates of an appendix that is not public. So is what holds by construction: how many weights are kept is an
input, so only the accuracy and the time beside it are tested. That differential privacy leaves 25 % "in the worst case"
is left out too, as the smallest epsilon that one tries decides it. Sizes that the text gives, such as "13.6 % lower",
are no claims of their own: the effect that the paper's tables give stands beside ours (`tables.effect`).

Columns that its experiments are read by, besides data, model, method, attack, epoch and seed: `keep` (share of the
weights kept), `epsilon` (of differential privacy), `matched` ("attack": of a sweep over epsilon, the rows as leaky as
the pruned model; "accuracy": as accurate), `label` (the class of the samples counted, or "all"), `per_weight` (random
numbers for each weight of the network that a subnetwork stands for).
Values: balanced_accuracy (the paper's attack accuracy), train_accuracy, test_accuracy; js and gain (nats, Eqs. 10 and
1); train_certainty and test_certainty (mean largest probability), train_loss, epochs_to_converge; storage_bytes,
multiply_adds (of one answer), inference_seconds, training_multiply_adds; changed (share of samples that are answered
otherwise), failure_rate and proven_rate (shares of draws that miss the theorem's epsilon somewhere, and that surely
keep it everywhere).
"""

from mialab.claims.claim import Claim, Effect, Last, Trend, above, below, near

LENET, CNN = {"data": "mnist", "model": "lenet5"}, {"data": "cifar10", "model": "cnn4"}
VGG10, VGG100 = ({"data": data, "model": "vgg16"} for data in ("cifar10", "cifar100"))
MOBILE10, MOBILE100 = ({"data": data, "model": "mobilenet_v2"} for data in ("cifar10", "cifar100"))
RESNET100 = {"data": "cifar100", "model": "resnet18"}
TABLE1 = (LENET, VGG10, MOBILE10, VGG100, MOBILE100, RESNET100)
CIFAR = (VGG10, {"data": "cifar10", "model": "resnet18"}, MOBILE10, VGG100, RESNET100, MOBILE100)  # of Table 4
IMAGENET = ({"data": "imagenet", "model": "mobilenet_v2"}, {"data": "imagenet", "model": "resnet18"})

FASHION = ({"data": "fashion", "model": "lenet5"},)
MLP = {"data": "mnist", "model": "mlp64_32"}  # the theorem's networks have neither biases nor convolutions: our choice
SMALL_MLP = ({"data": "fashion", "model": "mlp32"},)

ATTACK, RAHMAN = {"attack": "nasr-paper"}, {"attack": "shadow-rahman"}
NONE, PRUNED, GAME, BOTH, DP, SUBSET_SUM = (
    {"method": method} for method in ("none", "pruning", "min_max", "pruning+min_max", "dp", "subset_sum")
)
WIDEST = SUBSET_SUM | {"per_weight": Last()}
FIXED = DP | {"epsilon": 6.28}
AS_ACCURATE, AS_LEAKY = DP | {"matched": "accuracy"}, DP | {"matched": "attack"}
CERTAINTY = ("train_certainty", "test_certainty")
LONGEST = {"epoch": Last()}
WHOLE = {"label": "all"}
GAP = ("train_accuracy", "test_accuracy")

SMALL_LOSS = "small: less than 0.02, our margin"
NO_EPSILON = "at epsilon 6.28, as of the four-layer network's numbers none is printed"
CLOSE = "close: within 0.02, our margin"


def claim(id, section, experiment, test, sentence, *, on=TABLE1, stand_ins=FASHION, choice="") -> Claim:
    """A claim of the pruning paper, about all rows of Table 1 unless it says otherwise."""
    name = f"pruning/{experiment}"
    return Claim(id, "pruning", section, sentence, name, **test, settings=on, stand_ins=stand_ins, choice=choice)


def leak(method: dict, other: dict | None = None, *, attack: dict = ATTACK) -> Effect:
    """The attack's balanced accuracy on one method, less that on another."""
    return Effect("balanced_accuracy", of=attack | method, minus=attack | other if other else ())


def accuracy(method: dict, other: dict) -> Effect:
    """The accuracy on fresh samples of one method, less that of another."""
    return Effect("test_accuracy", of=method, minus=other)


# Two or three lines a claim, to be read at a glance: name, section, experiment, test; then the sentence.
# fmt: off
AGAINST_BASELINE = (  # Tables 1 and 3
    claim("pruning-lowers-attack", "abstract, 1, 5.3, 6", "table1", below(leak(PRUNED, NONE)),
          "A pruned model is attacked less successfully than a plain one."),
    claim("pruning-lowers-attack-on-imagenet", "5.3, 6", "table3", below(leak(PRUNED, NONE)),
          "On ImageNet too, a pruned model is attacked less successfully.", on=IMAGENET, stand_ins=()),
    claim("pruning-keeps-accuracy", "abstract, 1, 3.1, 6", "table1", above(accuracy(PRUNED, NONE), -0.02),
          "A pruned model is nearly as accurate as a plain one.", choice=SMALL_LOSS),
    claim("pruning-keeps-accuracy-on-imagenet", "1, 5.1, 6", "table3", above(accuracy(PRUNED, NONE), -0.02),
          "On ImageNet too, a pruned model is nearly as accurate.",
          on=IMAGENET, stand_ins=(), choice=SMALL_LOSS),
    claim("attack-on-pruned-near-half", "1, 3.1", "table1", near(leak(PRUNED), 0.05, 0.5),
          "On a pruned model the attack is about as good as guessing.", choice="about: within 0.05 of 0.5, our margin"),
)

AGAINST_MIN_MAX = (  # Table 1
    claim("pruning-beats-min-max", "abstract, 1, 5.3", "table1", below(leak(PRUNED, GAME)),
          "A pruned model is attacked less successfully than one trained by the min-max game."),
    claim("pruning-near-min-max-on-mobilenet", "5.3", "table1", near(leak(PRUNED, GAME), 0.02),
          "On MobileNetV2, pruning and the min-max game are attacked about as successfully.",
          on=(MOBILE10, MOBILE100), stand_ins=(), choice=CLOSE),
    claim("min-max-lowers-attack", "1", "table1", below(leak(GAME, NONE)),
          "The min-max game protects members."),
    claim("min-max-costs-training", "1", "cost",
          above(Effect("training_multiply_adds", GAME | LONGEST, NONE | LONGEST)),
          "The min-max game makes training more work, epoch for epoch."),
)

AGAINST_DP = (  # Table 2
    claim("pruning-beats-dp", "1, 5.3, 6", "table2", below(leak(PRUNED, FIXED)),
          "A pruned model is attacked less successfully than one trained with differential privacy at epsilon 6.28.",
          on=(LENET,)),
    claim("pruning-beats-dp-at-equal-accuracy", "5.3", "table2", below(leak(PRUNED, AS_ACCURATE)),
          "At equal accuracy, a pruned model is attacked less successfully than one with differential privacy.",
          on=(LENET,), choice="equal: the nearest of our values of epsilon"),
    claim("pruning-beats-dp-on-cnn", "1, 5.3, 6", "table2", below(leak(PRUNED, FIXED, attack=RAHMAN)),
          "Pruned, the four-layer network is attacked less successfully than with differential privacy.",
          on=(CNN,), stand_ins=(), choice=NO_EPSILON),
    claim("pruning-beats-dp-on-cnn-at-equal-accuracy", "5.3", "table2",
          below(leak(PRUNED, AS_ACCURATE, attack=RAHMAN)),
          "Pruned, it is so at equal accuracy, too.",
          on=(CNN,), stand_ins=(), choice="equal: the nearest of our values of epsilon"),
    claim("pruning-more-accurate-than-dp", "5.3", "table2", above(accuracy(PRUNED, FIXED)),
          "A pruned model is more accurate than one trained with differential privacy.",
          on=(LENET, CNN), choice=NO_EPSILON),
    claim("pruning-more-accurate-than-dp-at-equal-attack", "5.3", "table2", above(accuracy(PRUNED, AS_LEAKY)),
          "Attacked as successfully, a pruned model is more accurate than one with differential privacy.",
          on=(LENET, CNN), choice="as successfully: the nearest of our values of epsilon"),
    claim("dp-loses-accuracy", "1, 2.2, 5.3", "table2", below(accuracy(FIXED, NONE), -0.01),
          "Differential privacy costs noticeable accuracy.",
          on=(LENET, CNN), choice=f"{NO_EPSILON}; noticeable: more than 0.01, our margin"),
    claim("dp-below-70-at-equal-attack", "5.3", "table2", below(Effect("test_accuracy", AS_LEAKY), 0.7),
          "Where differential privacy protects as well as pruning, the four-layer network is right in under 70 %.",
          on=(CNN,), stand_ins=(), choice="0.7 is Rahman et al.'s number, for their attack level"),
)

SMALLER = (  # Tables 3 and 4. How many weights are kept is an input: what can fail is the accuracy beside it.
    claim("lenet5-as-accurate-at-15.78", "5.3", "table4", above(accuracy(PRUNED, NONE), -0.01),
          "With one weight in 15.78, LeNet-5 is as accurate as before.",
          on=(LENET,), stand_ins=(), choice="as accurate: less than 0.01 below, our margin"),
    claim("cifar-models-as-accurate-at-a-tenth", "5.3", "table4", above(accuracy(PRUNED, NONE), -0.02),
          "With one weight in 10.06 or fewer, the networks for CIFAR are nearly as accurate as before.",
          on=CIFAR, stand_ins=(), choice=SMALL_LOSS),
    claim("resnet18-on-imagenet-as-accurate-at-3.37", "5.3", "table3", above(accuracy(PRUNED, NONE), -0.02),
          "With one weight in 3.37, ResNet-18 is nearly as accurate on ImageNet as before.",
          on=IMAGENET[1:], stand_ins=(), choice=SMALL_LOSS),
    claim("mobilenet-on-imagenet-as-accurate-at-3.27", "5.3", "table3", above(accuracy(PRUNED, NONE), -0.02),
          "With one weight in 3.27, MobileNetV2 is nearly as accurate on ImageNet as before.",
          on=IMAGENET[:1], stand_ins=(), choice=SMALL_LOSS),
    claim("pruning-shrinks-storage", "abstract, 1, 6", "table4", below(Effect("storage_bytes", PRUNED, NONE)),
          "A pruned model takes less storage.", on=(LENET, *CIFAR, *IMAGENET)),
    claim("pruning-saves-operations", "abstract, 1, 6", "table4", below(Effect("multiply_adds", PRUNED, NONE)),
          "A pruned model needs fewer operations for an answer, zeros not counted.", on=(LENET, *CIFAR, *IMAGENET)),
    claim("pruning-is-faster", "1, 6", "table4", below(Effect("inference_seconds", PRUNED, NONE)),
          "A pruned model answers faster.", on=(LENET, *CIFAR, *IMAGENET)),
)

LOSS = (  # Figure 2
    claim("pruning-converges-in-20-epochs", "5.3", "figure2", below(Effect("epochs_to_converge", PRUNED), 20),
          "The loss of the pruned model settles within 20 epochs.",
          on=(VGG10,), stand_ins=(), choice="settles: stays within 0.05 of its end, our margin"),
    claim("pruning-ends-at-higher-loss", "5.3", "figure2", above(Effect("train_loss", PRUNED, NONE)),
          "On its training samples the pruned model ends at a higher loss than the plain one.", on=(VGG10,)),
    claim("pruning-ends-at-higher-loss-than-min-max", "5.3", "figure2", above(Effect("train_loss", PRUNED, GAME)),
          "On its training samples the pruned model ends at a higher loss than one of the min-max game.", on=(VGG10,)),
)

COMBINED = (  # Tables 5 and 6
    claim("combination-beats-pruning", "1, 5.4, 6", "table5", below(leak(BOTH, PRUNED)),
          "Pruning within the min-max game lowers the attack further than pruning alone.", on=(LENET, VGG10, VGG100)),
    claim("combination-near-pruning-on-mnist", "5.4", "table5", near(leak(BOTH, PRUNED), 0.02),
          "On MNIST the combination is attacked about as successfully as pruning alone.",
          on=(LENET,), stand_ins=(), choice=CLOSE),
    claim("combination-beats-min-max", "6", "table6", below(leak(BOTH | WHOLE, GAME | WHOLE)),
          "The combination lowers the attack further than the min-max game alone.", on=(VGG10,)),
    claim("combination-beats-baseline", "1, 6", "table6", below(leak(BOTH | WHOLE, NONE | WHOLE)),
          "The combination lowers the attack below that on a plain model.", on=(VGG10,)),
)

OVERFITTING = (  # sections 4.2 and 5.5, Table 6
    claim("pruning-narrows-gap", "4.2, 5.3, 5.5", "table6", below(Effect(GAP, PRUNED | WHOLE, NONE | WHOLE)),
          "Pruning narrows the generalisation gap.", on=(VGG10,)),
    claim("attack-follows-gap-over-methods", "5.5", "table6",
          above(Trend(leak(WHOLE), Effect(GAP, WHOLE), ("method",))),
          "Of the four ways of training, the one with the wider gap is attacked more successfully.", on=(VGG10,)),
    claim("attack-follows-gap-over-classes", "5.5", "table6",
          above(Trend(leak(NONE | {"label": tuple(range(10))}), Effect(GAP, NONE), ("label",))),
          "Classes with a wider gap between training and fresh samples are attacked more successfully.", on=(VGG10,)),
    claim("baseline-surest-of-members", "5.5", "table6",
          above(Effect("train_certainty", NONE | WHOLE, PRUNED | WHOLE)),
          "Pruning makes a model less certain about its training samples.", on=(VGG10,)),
    claim("baseline-surer-of-members-than-min-max", "5.5", "table6",
          above(Effect("train_certainty", NONE | WHOLE, GAME | WHOLE)),
          "The min-max game makes a model less certain about its training samples.", on=(VGG10,)),
    claim("combination-less-sure-of-members", "5.5", "table6",
          below(Effect("train_certainty", BOTH | WHOLE, NONE | WHOLE)),
          "Both together make a model less certain about its training samples.", on=(VGG10,)),
    claim("baseline-less-sure-of-fresh-samples", "5.5", "table6", above(Effect(CERTAINTY, NONE | WHOLE), 0.01),
          "A plain model is noticeably less certain about fresh samples than about its own.",
          on=(VGG10,), choice="noticeably: by more than 0.01, our margin"),
    *(claim(f"{name}-as-sure-of-fresh-samples", "5.5", "table6", near(Effect(CERTAINTY, method | WHOLE), 0.02),
            f"{words} makes a model about as certain about fresh samples as about its own.",
            on=(VGG10,), choice=CLOSE)
      for name, method, words in (("pruned", PRUNED, "Pruning"), ("min-max", GAME, "The min-max game"),
                                  ("combination", BOTH, "The combination of pruning and the min-max game"))),
    claim("pruning-lowers-divergence", "4.2", "sparsity",
          above(Trend(Effect("js", ATTACK), Effect("keep", ATTACK), ("keep",))),
          "The fewer weights are kept, the closer are the outputs on members and on non-members."),
    claim("attack-follows-divergence", "4.2", "sparsity", above(Trend(leak({}), Effect("js", ATTACK), ("keep",))),
          "The further apart the outputs on members and non-members, the more successful the attack."),
    claim("attack-follows-gain", "4.1, 4.2", "sparsity", above(Trend(leak({}), Effect("gain", ATTACK), ("keep",))),
          "Of the numbers of weights, the one with the least gain (Algorithm 1, line 14) is attacked least."),
)

THEOREM = (  # section 4.2, Theorem 1
    claim("random-network-holds-the-target", "4.2", "theorem1", below(Effect("failure_rate", WIDEST), 0.05),
          "A wide enough random network nearly always holds a subnetwork that answers as a given one does.",
          on=(MLP,), stand_ins=SMALL_MLP, choice="nearly always: in more than 0.95 of the draws, our margin; "
          "as: within 0.01 of the logits' range over the whole box of inputs, as far as a search finds"),
    claim("random-network-surely-holds-the-target", "4.2", "theorem1", above(Effect("proven_rate", WIDEST), 0.95),
          "It answers so for every input of the domain.",
          on=(MLP,), stand_ins=SMALL_MLP, choice="by a bound on the distance that holds for every input of the box"),
    claim("subnetwork-as-accurate", "abstract, 1, 4.2", "theorem1", below(Effect("changed", WIDEST), 0.01),
          "The subnetwork of a random network is about as accurate as the network that it stands for.",
          on=(MLP,), stand_ins=SMALL_MLP,
          choice="about: all but 0.01 of the samples get the same class, our margin; no accuracy differs by more"),
    claim("subnetwork-protects", "abstract, 1, 6", "theorem1", below(leak(WIDEST, NONE)),
          "The subnetwork of a random network protects members better than the network that it stands for.",
          on=(MLP,), stand_ins=SMALL_MLP),
)
# fmt: on

CLAIMS = (
    *(*AGAINST_BASELINE, *AGAINST_MIN_MAX, *AGAINST_DP, *SMALLER),
    *(*LOSS, *COMBINED, *OVERFITTING, *THEOREM),
)
