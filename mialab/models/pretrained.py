"""Weights to start from that others have trained: torchvision's, for the architectures that are torchvision's own.

A `start` is written "torchvision:IMAGENET1K_V1". Such weights have been trained on ImageNet's official training set,
so that its rows are the members, whatever is trained afterwards.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from mialab import models
from mialab.data.download import DataError
from mialab.models.layers import Normalise
from mialab.names import unknown
from mialab.splits import Arrangement

_THEIRS = ("resnet18", "mobilenet_v2")
_SHAPE, _CLASSES = (3, 224, 224), 1000
_ORIGIN = "torchvision:"


def refusal(
    data: str, start: str | None, *, arrangement: Arrangement, norm: str | None = None, shadows: bool = False
) -> str | None:
    """Why a training or an attack cannot start from these weights, in one line with the remedy; None where it can.

    data: a data set's name; arrangement: who its members are; norm: as `models.build` takes it; shadows: whether shadow
    models are to start from them too.
    """
    if start is None:
        return None
    if data == "tiny-imagenet-10":
        return f"{start} has seen all of tiny-imagenet-10, members or not: choose data='imagenet', or start=None"
    if data != "imagenet":
        return (
            f"{start} answers ImageNet's {_CLASSES} classes, which {data} lacks: choose data='imagenet', or start=None"
        )
    if arrangement.kind != "ensemble_paper":
        return (
            f"{start} has seen ImageNet's whole official training set, so that these are the members: choose the "
            f"arrangement 'ensemble_paper', not {arrangement.kind!r}, or start=None"
        )
    if norm not in (None, "batch"):
        return f"{start} belongs to a net with batch norm, not norm={norm!r}: leave norm out, or choose start=None"
    if shadows:
        return f"{start} has seen all samples that shadows must not know: drop the shadow attacks, or choose start=None"
    return None


def checksum(name: str, start: str) -> str:
    """The first digits of the weights' SHA-256, without loading them: what a cell's name holds of them.

    Raises ValueError, listing what there is, for an architecture or weights that torchvision does not publish.
    """
    return _address(name, start).rpartition("-")[2].partition(".")[0]


def state_dict(name: str, start: str) -> dict[str, Tensor]:
    """The weights under the names of `build(name, (3, 224, 224), 1000, scale=...)`, its scale ImageNet's.

    The file lies where torch.hub keeps its own, and is downloaded there if missing; each time it must have the checksum
    in its name. Raises ValueError like `checksum`, and DataError for a file that is missing or altered.
    """
    theirs = torch.load(_file(name, start), map_location="cpu", weights_only=True)
    transform = _weights(name, start).transforms()
    scale = Normalise(_SHAPE, transform.mean, transform.std).state_dict()
    found = {f"net.{key}": value for key, value in theirs.items()} | {f"scale.{key}": v for key, v in scale.items()}
    with torch.device("meta"):
        ours = models.build(name, _SHAPE, _CLASSES, scale=(transform.mean, transform.std)).state_dict()
    for key in ours.keys() - found.keys():
        if key.endswith("num_batches_tracked"):  # files older than this buffer lack it, and torch lets them
            found[key] = torch.tensor(0)
    wrong = sorted(key for key in ours.keys() | found.keys() if _shape(ours, key) != _shape(found, key))
    if wrong:
        raise DataError(f"{_address(name, start)} does not fit {name} (first: {wrong[0]}): choose start=None")
    return {key: found[key] for key in ours}


def _shape(state: dict[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _weights(name: str, start: str):
    from torchvision.models import get_model_weights

    if name not in _THEIRS:
        raise ValueError(f"no pretrained weights fit {name}: choose {' or '.join(_THEIRS)}, or start=None")
    published = {f"{_ORIGIN}{weights.name}": weights for weights in get_model_weights(name)}
    if start not in published:
        raise ValueError(unknown("start", start, published))
    return published[start]


def _address(name: str, start: str) -> str:
    return _weights(name, start).url


def _file(name: str, start: str) -> Path:
    """The file with the weights, downloaded if need be, and checked."""
    address, expected = _address(name, start), checksum(name, start)
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    by_hand = f"put the file of {address} there by hand, or choose start=None"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path), expected, progress=False)
        except (OSError, RuntimeError) as error:
            cause = str(error).partition("\n")[0]
            raise DataError(f"{path} is missing and could not be downloaded ({cause}); {by_hand}") from error
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {by_hand}") from error
    if not found.startswith(expected):
        raise DataError(
            f"{path}: truncated or altered (sha256 {found}, expected {expected}...); remove it, then {by_hand}"
        )
    return path
