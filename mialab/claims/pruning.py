"""The testable sentences of the pruning paper.

What no number can test is left out: the motivation, what others are said to have done, the algebra of the gain, and the
per-layer rates of an appendix that is not public. So are three sentences that would come out one way whatever is true:
that the n which Algorithm 1 chooses has the least gain (it is chosen by that); that differential privacy is right in
25 % of cases "in the worst case" (which the smallest epsilon tried decides); and that Eq. 1's inference model also sees
x, of which the paper does not say what it adds. Sizes that the text gives, such as "13.6 % lower", are no claims of
their own: the effect that the paper's tables give stands beside ours (`tables.effect`).

How many weights are left is an input of pruning, and storage and operations follow from it. Claims on these hold only
if the accuracy is kept, too.

Columns that its experiments are read by, besides data, model, method, attack, epoch and seed: `keep` (share of the
weights kept), `epsilon` (of differential privacy), `matched` ("attack" or "accuracy": of a sweep over epsilon, the row
whose attack, or test accuracy, is nearest to the pruned model's), `label` (the
class of the samples counted, or "all"), `per_weight` (random numbers for each weight of the network that a subnetwork
stands for).
Values: balanced_accuracy (the paper's attack accuracy), train_accuracy, test_accuracy, auc; js and gain (nats);
train_certainty and test_certainty (mean largest probability), train_loss, epochs_to_converge; weights (those that are
not zero), reduction_ratio, storage_bytes, multiply_adds (of one answer), inference_seconds, training_multiply_adds;
output_error and worst_error (largest distance between two networks' outputs on samples, and found anywhere between
them), failure_rate (share of `count` draws whose worst_error misses the theorem's epsilon) and proven_rate (share that
provably meet it everywhere).
"""

from mialab.claims.claim import Claim, Effect, First, Last, Trend, above, at_least, at_most, below, near

LENET, CNN = {"data": "mnist", "model": "lenet5"}, {"data": "cifar10", "model": "cnn4"}
VGG10, VGG100 = ({"data": data, "model": "vgg16"} for data in ("cifar10", "cifar100"))
MOBILE10, MOBILE100 = ({"data": data, "model": "mobilenet_v2"} for data in ("cifar10", "cifar100"))
RESNET100 = {"data": "cifar100", "model": "resnet18"}
TABLE1 = (LENET, VGG10, MOBILE10, VGG100, MOBILE100, RESNET100)
TABLE5 = (VGG10, VGG100, LENET)
CIFAR = (VGG10, {"data": "cifar10", "model": "resnet18"}, MOBILE10, VGG100, RESNET100, MOBILE100)  # of Table 4
IMAGENET = ({"data": "imagenet", "model": "mobilenet_v2"}, {"data": "imagenet", "model": "resnet18"})

FASHION = ({"data": "fashion", "model": "lenet5"},)
MLP = {"data": "mnist", "model": "mlp64_32"}  # the theorem's networks have neither biases nor convolutions: our choice
SMALL_MLP = ({"data": "fashion", "model": "mlp32"},)

ATTACK, RAHMAN = {"attack": "nasr-paper"}, {"attack": "shadow-rahman"}
NONE, PRUNED, GAME, BOTH, DP, SUBSET_SUM, EDGE_POPUP = (
    {"method": method} for method in ("none", "pruning", "min_max", "pruning+min_max", "dp", "subset_sum", "edge_popup")
)
WIDEST = SUBSET_SUM | {"per_weight": Last()}
FIXED, EQUAL_ATTACK, EQUAL_ACCURACY = (
    DP | how for how in ({"epsilon": 6.28}, {"matched": "attack"}, {"matched": "accuracy"})
)
LONGEST = {"epoch": Last()}
WHOLE = {"label": "all"}
GAP = ("train_accuracy", "test_accuracy")

SMALL_LOSS = "our margin: a loss of less than 0.02 is small"
KEPT = "our margin: an accuracy is kept if it falls by less than 0.02"
CLOSE = "our margin: close is within 0.02"
MATCHED = "our margin: what is matched is met within 0.02"


def claim(
    id, section, experiment, test, sentence, *, on=TABLE1, stand_ins=FASHION, also=(), given=(), choice=""
) -> Claim:
    """A claim of the pruning paper, about all rows of Table 1 unless it says otherwise."""
    name, further = f"pruning/{experiment}", {"also": also, "given": given, "choice": choice}
    return Claim(id, "pruning", section, sentence, name, test, settings=on, stand_ins=stand_ins, **further)


def leak(method: dict, other: dict | None = None, *, attack: dict = ATTACK) -> Effect:
    """The attack's balanced accuracy on one method, less that on another."""
    return Effect("balanced_accuracy", of=attack | method, minus=attack | other if other else ())


def accuracy(method: dict, other: dict) -> Effect:
    """The accuracy on fresh samples of one method, less that of another."""
    return Effect("test_accuracy", of=method, minus=other)


def change(value: str, method: dict, other: dict) -> Effect:
    """By what share one method's count differs from another's."""
    return Effect(value, of=method, minus=other, relative=True)


def kept(method: dict = PRUNED) -> tuple:
    """That the accuracy is kept."""
    return (at_least(accuracy(method, NONE), -0.02),)


def as_leaky(attack: dict) -> tuple:
    """That the rows matched by the attack are attacked as successfully as the pruned model."""
    return (near(leak(EQUAL_ATTACK, PRUNED, attack=attack), 0.02),)


LEAKY = (at_least(leak(NONE), 0.52),)  # that a plain model leaks: else there is nothing to prevent
EQUALLY_ACCURATE = (near(accuracy(EQUAL_ACCURACY, PRUNED), 0.02),)


def subset_sum(value: str) -> Effect:
    """A value of the theorem's subnetworks, at whatever width."""
    return Effect(value, ATTACK | SUBSET_SUM)


# Two or three lines a claim, to be read at a glance: name, section, experiment, test; then the sentence.
# fmt: off
AGAINST_BASELINE = (  # Tables 1 and 3
    claim("pruning-lowers-attack", "abstract, 1, 5.3, 6", "table1", below(leak(PRUNED, NONE)),
          "A pruned model is attacked less successfully than a plain one."),
    claim("pruning-lowers-attack-on-imagenet", "5.3, 6", "table3", below(leak(PRUNED, NONE)),
          "On ImageNet too, a pruned model is attacked less successfully.", on=IMAGENET, stand_ins=()),
    claim("pruning-prevents-the-attack", "abstract, 1, 3.1", "table1", near(leak(PRUNED), 0.02, 0.5),
          "Pruning prevents the leak: the attack on a pruned model hardly beats guessing.", given=LEAKY,
          choice="0.5 is guessing; our margin: within 0.02 of it; there is a leak to prevent only if the attack on the "
          "plain model beats guessing by more than that"),
    claim("pruning-lowers-gain", "3.1, 5.3", "table1", below(Effect("gain", ATTACK | PRUNED, ATTACK | NONE)),
          "Pruning lowers the gain of the inference model."),
    claim("pruning-lowers-divergence", "4.2", "table1", below(Effect("js", ATTACK | PRUNED, ATTACK | NONE)),
          "A pruned model's outputs on members and on non-members are closer to each other than a plain one's."),
    claim("pruning-keeps-accuracy", "abstract, 1, 3.1, 6", "table1", at_least(accuracy(PRUNED, NONE), -0.02),
          "A pruned model is nearly as accurate as a plain one.", choice=SMALL_LOSS),
    claim("pruning-keeps-accuracy-on-imagenet", "5.1, 6", "table3", at_least(accuracy(PRUNED, NONE), -0.02),
          "On ImageNet too, a pruned model is nearly as accurate.",
          on=IMAGENET, stand_ins=(), choice=SMALL_LOSS),
)

AGAINST_MIN_MAX = (  # Table 1
    claim("pruning-beats-min-max", "abstract, 1, 5.3", "table1", below(leak(PRUNED, GAME)),
          "A pruned model is attacked less successfully than one trained by the min-max game."),
    claim("pruning-near-min-max-on-mobilenet", "5.3", "table1", near(leak(PRUNED, GAME), 0.02),
          "On MobileNetV2, pruning and the min-max game are attacked about as successfully.",
          on=(MOBILE10, MOBILE100), stand_ins=(), choice=CLOSE),
    claim("min-max-lowers-attack", "1", "table1", below(leak(GAME, NONE)),
          "The min-max game protects members."),
    claim("min-max-costs-training", "1, 2.2", "cost",
          above(change("training_multiply_adds", GAME | LONGEST, NONE | LONGEST)),
          "The min-max game makes training more work, epoch for epoch."),
)

AGAINST_DP = (  # Table 2: at its epsilon, and where differential privacy is as accurate or as private as pruning
    claim("pruning-beats-dp", "1, 5.3, 6", "table2", below(leak(PRUNED, FIXED)),
          "A pruned model is attacked less successfully than one with differential privacy at an epsilon of 6.28.",
          on=(LENET,)),
    claim("pruning-beats-dp-on-cnn", "1, 5.3, 6", "table2", below(leak(PRUNED, FIXED, attack=RAHMAN)),
          "Pruned, the four-layer network is attacked less successfully than under differential privacy.",
          on=(CNN,), stand_ins=(), choice="the paper states no epsilon of this network: 6.28, as of the other"),
    claim("pruning-more-accurate-than-dp", "5.3", "table2", above(accuracy(PRUNED, FIXED)),
          "A pruned model is more accurate than one with differential privacy at an epsilon of 6.28.",
          on=(LENET, CNN)),
    claim("dp-loses-accuracy", "1, 2.2, 5.3", "table2", at_most(accuracy(FIXED, NONE), -0.01),
          "Differential privacy costs noticeable accuracy.",
          on=(LENET, CNN), choice="our margin: more than 0.01 is noticeable"),
    *(one
      for attack, end, where, on, stand_ins in (
          (ATTACK, "", "", (LENET,), FASHION),
          (RAHMAN, "-on-cnn", "On the four-layer network too: ", (CNN,), ()))
      for one in (
          claim(f"pruning-beats-dp-at-equal-accuracy{end}", "1, 5.3, 6", "table2",
                below(leak(PRUNED, EQUAL_ACCURACY, attack=attack)),
                f"{where}Where differential privacy is as accurate as pruning, pruning is attacked less successfully.",
                on=on, stand_ins=stand_ins, given=EQUALLY_ACCURATE, choice=MATCHED),
          claim(f"pruning-more-accurate-at-equal-attack{end}", "5.3", "table2",
                above(accuracy(PRUNED, EQUAL_ATTACK)),
                f"{where}Where differential privacy protects as well as pruning, the pruned model is more accurate.",
                on=on, stand_ins=stand_ins, given=as_leaky(attack), choice=MATCHED),
          claim(f"dp-loses-accuracy-at-equal-attack{end}", "5.3", "table2",
                at_most(accuracy(EQUAL_ATTACK, NONE), -0.01),
                f"{where}Differential privacy that protects as well as pruning costs more than negligible accuracy.",
                on=on, stand_ins=stand_ins, given=as_leaky(attack),
                choice=f"our margin: up to 0.01 is negligible; {MATCHED}"))),
    claim("dp-below-70-at-equal-attack", "5.3", "table2", at_most(Effect("test_accuracy", EQUAL_ATTACK), 0.7),
          "Where differential privacy protects as well as pruning, it is right in under 70 % of cases.",
          on=(CNN,), stand_ins=(), given=as_leaky(RAHMAN), choice="0.7 is the paper's number, after Rahman et al."),
    claim("dp-costs-more-at-large-epsilon", "2.2", "epsilon",
          below(accuracy(DP | {"epsilon": Last()}, DP | {"epsilon": First()})),
          "Differential privacy costs more accuracy at a large epsilon than at a small one.", on=(LENET,),
          choice="as printed; much noise, which is a small epsilon, may be meant"),
)

RATIO = Effect("reduction_ratio", PRUNED)
SMALLER = (  # Table 4, Figure 3; of ImageNet, Table 3's experiment
    claim("lenet5-shrinks-by-15.78", "5.3", "table4", near(RATIO, 0.1, 15.78),
          "LeNet-5 keeps one weight in 15.78, and its accuracy.", on=(LENET,), stand_ins=(), also=kept(),
          choice=f"15.78 is the paper's number; our margin: met within 0.1; {KEPT}"),
    claim("cifar-models-shrink-tenfold", "5.3", "table4", at_least(RATIO, 10.0),
          "The networks for CIFAR shrink about 10.06 times or more and keep their accuracy.",
          on=CIFAR, stand_ins=(), also=kept(), choice=f"10.06 is the paper's number; our margin: from 10 on; {KEPT}"),
    claim("resnet18-on-imagenet-shrinks-by-3.37", "5.3", "table3", near(RATIO, 0.1, 3.37),
          "On ImageNet ResNet-18 keeps one weight in 3.37, and its accuracy.",
          on=IMAGENET[1:], stand_ins=(), also=kept(),
          choice=f"3.37 is the paper's number; our margin: met within 0.1; {KEPT}"),
    claim("mobilenet-on-imagenet-shrinks-by-3.27", "5.3", "table3", near(RATIO, 0.1, 3.27),
          "On ImageNet MobileNetV2 keeps one weight in 3.27, and its accuracy.",
          on=IMAGENET[:1], stand_ins=(), also=kept(),
          choice=f"3.27 is the paper's number; our margin: met within 0.1; {KEPT}"),
    *(claim(f"{name}{end}", section, table, below(change(value, PRUNED, NONE)), f"{start}{words}", on=on,
            stand_ins=stand_ins, also=kept(), choice=KEPT)
      for table, end, start, on, stand_ins in (
          ("table4", "", "A pruned model ", (LENET, *CIFAR), FASHION),
          ("table3", "-on-imagenet", "On ImageNet too, a pruned model ", IMAGENET, ()))
      for name, section, value, words in (
          ("pruning-shrinks-storage", "abstract, 1, 6", "storage_bytes", "takes less storage and keeps its accuracy."),
          ("pruning-saves-operations", "abstract, 1, 6", "multiply_adds",
           "needs fewer operations for an answer and keeps its accuracy."),
          ("pruning-is-faster", "1", "inference_seconds", "answers faster and keeps its accuracy."))),
    claim("fewer-weights-than-baseline", "5.3", "figure3", below(change("weights", PRUNED, NONE)),
          "Pruning leaves far fewer weights than plain training, and the accuracy.",
          on=(VGG10,), also=kept(), choice=KEPT),
    claim("fewer-weights-than-min-max", "5.3", "figure3", below(change("weights", PRUNED, GAME)),
          "Pruning leaves far fewer weights than the min-max game, and the accuracy.",
          on=(VGG10,), also=kept(), choice=KEPT),
    claim("fewer-weights-with-both", "5.4", "figure3", below(change("weights", BOTH, NONE)),
          "Pruning within the min-max game leaves far fewer weights than plain training, and the accuracy.",
          on=(VGG10,), also=kept(BOTH), choice=KEPT),
)

LOSS = (  # Figure 2
    claim("pruning-converges-in-20-epochs", "5.3", "figure2", at_most(Effect("epochs_to_converge", PRUNED), 20),
          "The loss of the pruned model settles within fewer than 20 epochs.", on=(VGG10,), stand_ins=(),
          choice="20 is the paper's number; our margin: settled within 0.05 of the last loss of retraining"),
    claim("pruning-ends-at-higher-loss", "5.3", "figure2", above(Effect("train_loss", PRUNED, NONE)),
          "On its training samples the pruned model ends at a higher loss than the plain one.", on=(VGG10,)),
    claim("pruning-ends-at-higher-loss-than-min-max", "5.3", "figure2", above(Effect("train_loss", PRUNED, GAME)),
          "On its training samples the pruned model ends at a higher loss than one of the min-max game.", on=(VGG10,)),
)

COMBINED = (  # Tables 5 and 6
    claim("combination-beats-pruning", "1, 5.4, 6", "table5", below(leak(BOTH, PRUNED)),
          "Pruning within the min-max game lowers the attack further than pruning alone.", on=TABLE5),
    claim("combination-near-pruning-on-mnist", "5.4", "table5", near(leak(BOTH, PRUNED), 0.02),
          "On MNIST the combination is attacked about as successfully as pruning alone.",
          on=(LENET,), stand_ins=(), choice=CLOSE),
    claim("combination-beats-min-max", "6", "table6", below(leak(BOTH | WHOLE, GAME | WHOLE)),
          "The combination lowers the attack further than the min-max game alone.", on=(VGG10,)),
    claim("combination-beats-baseline", "1, 6", "table6", below(leak(BOTH | WHOLE, NONE | WHOLE)),
          "The combination lowers the attack below that on a plain model.", on=(VGG10,)),
)

SWEPT = "the paper names no network: ours"
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
    claim("baseline-less-sure-of-fresh-samples", "5.5", "table6",
          at_least(Effect(("train_certainty", "test_certainty"), NONE | WHOLE), 0.01),
          "A plain model is noticeably less certain about fresh samples than about its own.",
          on=(VGG10,), choice="our margin: more than 0.01 is noticeable"),
    *(claim(f"{name}-as-sure-of-fresh-samples", "5.5", "table6",
            near(Effect(("train_certainty", "test_certainty"), method | WHOLE), 0.02),
            f"{words} is about as certain about fresh samples as about its own.", on=(VGG10,), choice=CLOSE)
      for name, method, words in (("pruned", PRUNED, "A pruned model"),
                                  ("min-max", GAME, "A model of the min-max game"),
                                  ("combination", BOTH, "A model of pruning and the min-max game together"))),
    claim("fewer-weights-less-divergence", "4.2", "sparsity",
          above(Trend(Effect("js", ATTACK), Effect("keep", ATTACK), ("keep",))),
          "The fewer weights are kept, the closer are the outputs on members and on non-members.",
          on=(LENET,), choice=SWEPT),
    claim("attack-follows-divergence", "4.2", "sparsity", above(Trend(leak({}), Effect("js", ATTACK), ("keep",))),
          "The further apart the outputs on members and non-members, the more successful the attack.",
          on=(LENET,), choice=SWEPT),
    claim("gain-follows-divergence", "4.2", "sparsity",
          above(Trend(Effect("gain", ATTACK), Effect("js", ATTACK), ("keep",))),
          "The further apart the outputs on members and non-members, the larger the inference model's gain.",
          on=(LENET,), choice=SWEPT),
    claim("least-gain-at-fewest-weights", "4.1", "sparsity",
          above(Trend(Effect("gain", ATTACK), Effect("keep", ATTACK), ("keep",))),
          "The gain, by whose least value Algorithm 1 chooses, goes down with the number of weights.",
          on=(LENET,), choice=SWEPT),
    claim("attack-follows-gain", "4.1, 4.2", "sparsity",
          above(Trend(leak({}), Effect("gain", ATTACK), ("keep",))),
          "The smaller the gain by which Algorithm 1 chooses, the less successful the attack.",
          on=(LENET,), choice=SWEPT),
)

OURS = "the network is ours: the theorem's has neither biases nor convolutions"
NEARLY_ALWAYS = "our margin: nearly always is in more than 0.95 of the draws"
THEOREM = (  # section 4.2, Theorem 1
    claim("random-network-holds-the-target", "4.2", "theorem1",
          at_most(Effect("failure_rate", ATTACK | WIDEST, draws="count"), 0.05),
          "A wide enough random network nearly always holds a subnetwork that answers as a given one does.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=f"{NEARLY_ALWAYS}; {OURS}"),
    claim("random-network-provably-holds-the-target", "4.2", "theorem1",
          at_least(Effect("proven_rate", ATTACK | WIDEST, draws="count"), 0.95),
          "So it answers on every input, also between the samples.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=f"{NEARLY_ALWAYS}; {OURS}"),
    *(claim(f"{name}-falls-with-width", "4.2", "theorem1",
            below(Trend(subset_sum(value), subset_sum("per_weight"), ("per_weight",))),
            f"The wider the random network, the closer its subnetwork comes {where}.",
            on=(MLP,), stand_ins=SMALL_MLP, choice=OURS)
      for name, value, where in (("output-error", "output_error", "on the samples"),
                                 ("worst-error", "worst_error", "where it is furthest off"))),
    claim("subnetwork-as-accurate", "abstract, 1, 4.2", "theorem1", near(accuracy(WIDEST, NONE), 0.01),
          "The subnetwork of a random network is about as accurate as the network that it stands for.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=f"our margin: about is within 0.01; {OURS}"),
    claim("subnetwork-protects", "abstract, 1, 6", "theorem1", below(leak(WIDEST, NONE)),
          "The subnetwork of a random network protects members better than the network that it stands for.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=OURS),
    claim("found-subnetwork-as-accurate", "1", "theorem1", at_least(accuracy(EDGE_POPUP, NONE), -0.02),
          "A subnetwork that is searched for in random weights is nearly as accurate as a trained network.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=f"{SMALL_LOSS}; {OURS}"),
    claim("found-subnetwork-protects", "1", "theorem1", below(leak(EDGE_POPUP, NONE)),
          "A subnetwork that is searched for in random weights protects members better than a trained network.",
          on=(MLP,), stand_ins=SMALL_MLP, choice=OURS),
)
# fmt: on

CLAIMS = (
    *(*AGAINST_BASELINE, *AGAINST_MIN_MAX, *AGAINST_DP, *SMALLER),
    *(*LOSS, *COMBINED, *OVERFITTING, *THEOREM),
)
