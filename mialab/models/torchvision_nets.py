"""ResNet-18 and MobileNetV2: torchvision's own classes, with a stem for small images and no in-place operation.

The "imagenet" stem is torchvision's, so that its parameter names and pretrained weights fit. The "cifar" stem keeps a
small image's size: a 3x3 convolution of stride 1, without ResNet's first pooling and MobileNetV2's second halving.
"""

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, ResNet

from mialab.models.layers import Norm, he_init

# Expansion, channels, repeats, stride of each stage (Sandler et al. 2018, Table 2).
_MOBILENET_STAGES = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]


def resnet18(shape: tuple[int, int, int], classes: int, *, norm: Norm, stem: str) -> ResNet:
    """ResNet-18 (He et al. 2016a, Table 1), torchvision's initialisation: He's by fan-out."""
    net = ResNet(_Block, [2, 2, 2, 2], num_classes=classes, norm_layer=norm)
    if stem == "cifar":
        net.conv1 = he_init(nn.Conv2d(shape[0], 64, 3, padding=1, bias=False))
        net.maxpool = nn.Identity()
    elif shape[0] != 3:
        net.conv1 = he_init(nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False))
    return _out_of_place(net)


def mobilenet_v2(shape: tuple[int, int, int], classes: int, *, norm: Norm, stem: str) -> MobileNetV2:
    """MobileNetV2 at width 1 (Sandler et al. 2018), torchvision's initialisation; dropout 0.2 on ImageNet only."""
    stages = [list(stage) for stage in _MOBILENET_STAGES]
    if stem == "cifar":
        stages[1][3] = 1
    dropout = 0.2 if stem == "imagenet" else 0.0
    net = MobileNetV2(classes, inverted_residual_setting=stages, norm_layer=norm, dropout=dropout)
    stride = 1 if stem == "cifar" else 2
    if stem == "cifar" or shape[0] != 3:
        net.features[0][0] = he_init(nn.Conv2d(shape[0], 32, 3, stride=stride, padding=1, bias=False))
    return _out_of_place(net)


class _Block(BasicBlock):
    """torchvision's basic block with its in-place addition written out, which Opacus's hooks cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)


def _out_of_place(net):
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net
