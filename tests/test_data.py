"""Embedded data, the front door, image folders, and the readers on real files."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mialab import data, models, splits, training
from mialab.data import known

REAL = os.environ.get("MIALAB_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="MIALAB_DATA is not set: no real data sets to read")


def real(name):
    if not REAL:
        pytest.skip("MIALAB_DATA is not set: no real data sets to read")
    try:
        return data.load(name, download=False)
    except data.DataError as error:
        pytest.skip(f"MIALAB_DATA lacks {name}: {error}")


def nearest(x, prototypes):
    """The class of the prototype [class, mode, d] nearest to each row."""
    flat = prototypes.reshape(-1, prototypes.shape[-1])
    return torch.cdist(x, flat).argmin(1) // prototypes.shape[1]


@pytest.mark.parametrize("name", ["textures", "prototypes"])
def test_same_seed_gives_the_same_rows_and_another_seed_others(name):
    one, again, other = (data.load(name, samples=(50, 20), seed=s) for s in (3, 3, 4))
    assert torch.equal(one.x, again.x) and torch.equal(one.y, again.y)
    assert not torch.equal(one.x, other.x)


@pytest.mark.parametrize("name", ["textures", "prototypes"])
def test_training_rows_do_not_depend_on_the_size_of_the_test_set(name):
    small, large = data.load(name, samples=(50, 5)), data.load(name, samples=(50, 500))
    assert torch.equal(small.x[:50], large.x[:50]) and torch.equal(small.y[:50], large.y[:50])


@pytest.mark.parametrize("name", ["textures", "prototypes"])
def test_fresh_samples_repeat_no_loaded_row_even_under_the_same_seed(name):
    loaded = data.load(name, samples=(300, 300), seed=5).x.flatten(1)
    fresh = data.distribution(name).sample(600, seed=5)[0].flatten(1)
    assert (torch.cdist(fresh, loaded) > 0.5).all()
    assert loaded.unique(dim=0).shape == loaded.shape


@pytest.mark.parametrize("name", ["textures", "prototypes"])
def test_the_global_random_state_is_neither_used_nor_moved(name):
    torch.manual_seed(0), np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = data.load(name, samples=(10, 10)).x
    torch.manual_seed(1)
    assert torch.equal(first, data.load(name, samples=(10, 10)).x)
    torch.set_rng_state(before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize(("name", "shape"), [("textures", (3, 12, 12)), ("prototypes", (200,)), ("digits", (1, 8, 8))])
def test_embedded_sets_are_float_tensors_of_their_stated_shape(name, shape):
    dataset = data.load(name)
    assert dataset.x.dtype == torch.float32 and dataset.y.dtype == torch.int64
    assert dataset.shape == shape == tuple(dataset.x.shape[1:]) and len(dataset) == len(dataset.y)
    assert dataset.y.unique().tolist() == list(range(dataset.classes))
    assert dataset.mean == dataset.std == ()


def test_textures_have_unit_variance_no_mean_and_uniform_classes():
    x, y = data.distribution("textures").sample(20_000, seed=0)
    assert abs(x.var().item() - 1) < 0.1 and abs(x.mean().item()) < 0.01
    counts = torch.bincount(y, minlength=10)
    assert ((counts - 2000).abs() < 5 * 2000**0.5).all()


def test_texture_fields_have_the_stated_power_spectrum():
    prototypes = np.stack([data.distribution("textures", seed=s).prototypes for s in range(60)])
    power = (np.abs(np.fft.fft2(prototypes)) ** 2).mean((0, 1, 2, 3))
    assert power[0, 0] < 1e-6
    for k in (2, 3, 4, 5):
        assert power[0, k] / power[0, 1] == pytest.approx(k**-2.5, rel=0.15)
        assert power[k, 0] / power[1, 0] == pytest.approx(k**-2.5, rel=0.15)


def test_a_texture_without_noise_is_a_faded_shift_of_its_class_prototype():
    source = data.Textures()
    for name in ("noise", "white"):
        object.__setattr__(source, name, 0.0)
    x, y = source.sample(200, seed=1)
    turns = [(a, b) for a in range(-2, 3) for b in range(-2, 3)]
    for image, label in zip(x.numpy(), y, strict=True):
        shifted = np.stack([np.roll(source.prototypes[label], t, (-2, -1)) for t in turns]).reshape(-1, 432)
        cosine = shifted @ image.ravel() / np.linalg.norm(shifted, axis=1) / np.linalg.norm(image)
        assert cosine.max() > 0.99999


def test_prototype_bits_are_flipped_at_the_stated_rate():
    source = data.distribution("prototypes")
    x, y = source.sample(20_000, seed=2)
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    coded = torch.from_numpy(source.prototypes).float() * 2 - 1
    agree = (torch.einsum("nd,nmd->nm", x, coded[y]) / 200).amax(1)
    assert (1 - agree.mean().item()) / 2 == pytest.approx(0.28, abs=0.005)
    assert (nearest(x, coded) == y).float().mean() > 0.95


def test_another_distribution_seed_gives_other_prototypes():
    one, other = (data.distribution("textures", seed=s).prototypes for s in (0, 1))
    assert np.abs(one - other).min() > 0


def test_digits_are_the_1797_real_ones():
    digits = data.load("digits")
    assert len(digits) == 1797 and digits.train is None and digits.x.min() == 0 and digits.x.max() == 1
    assert (digits.x * 16).frac().abs().max() == 0


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(label):
    with pytest.raises(ValueError, match="set: labels from .* expected 0 to 2"):
        data.Dataset("set", torch.zeros(2, 4), torch.tensor([1, label]), 3)


def test_an_unknown_name_lists_close_ones():
    with pytest.raises(ValueError, match="'cifar-10'.*cifar10"):
        data.load("cifar-10")
    with pytest.raises(ValueError, match="'texture'.*mean textures"):
        data.distribution("texture")
    with pytest.raises(ValueError, match="unknown data set 'zzzz'.*location30"):
        data.load("zzzz")


@pytest.mark.parametrize("samples", [(0, 10), (10, -1)])
def test_impossible_sample_sizes_are_refused(samples):
    with pytest.raises(ValueError, match="train >= 1"):
        data.load("textures", samples=samples)
    with pytest.raises(ValueError, match="fixed number"):
        data.load("digits", samples=(10, 10))
    with pytest.raises(ValueError, match="seed"):
        data.load("textures", seed=-1)


def test_importing_data_loads_neither_torchvision_nor_scikit_learn():
    code = "import sys, mialab.data; print([m for m in ('torchvision', 'sklearn', 'scipy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.fixture
def tiny_folder(tmp_path):
    """ImageNet's layout with two classes; every image is one colour, so that a batch shows which image it holds."""
    root = tmp_path / "with a space"
    for part, per_class in (("train", 5), ("val", 2)):
        for label, wnid in enumerate(("n01", "n02")):
            (root / part / wnid).mkdir(parents=True)
            for i in range(per_class):
                grey = 100 * label + 20 * i
                Image.new("L" if i == 0 else "RGB", (40, 30), grey if i == 0 else (grey, grey, grey)).save(
                    root / part / wnid / f"{i}.JPEG"
                )
    return root


def greys(stream):
    """The grey of each image in a stream's order: 100 times its class, plus 20 times its number."""
    return [20 * round(v / 20) for x, _ in stream for v in x[:, :, 8, 8].float().mean(1).tolist()]


def test_a_folder_is_one_pool_of_rows_that_stream_in_rgb_batches(tiny_folder):
    images = data.folder(tiny_folder, size=16)
    assert images.classes == 2 and images.class_names == ("n01", "n02") and images.shape == (3, 16, 16)
    assert images.name == "with a space" and len(images) == 14 and images.train == 10
    assert images.y.tolist() == [0] * 5 + [1] * 5 + [0] * 2 + [1] * 2 and images.y.dtype == torch.int64
    train, val = (images.rows(rows, batch=4) for rows in torch.arange(14).split([10, 4]))
    assert len(train) == 3 and len(val) == 1
    assert [len(y) for _, y in train] == [4, 4, 2]
    x, y = next(iter(val))
    assert x.dtype == torch.uint8 and x.shape == (4, 3, 16, 16) and torch.equal(y, images.y[10:])
    assert x[:, :, 8, 8].float().mean(1).round().tolist() == pytest.approx([0, 20, 100, 120], abs=3)


def test_a_stream_gives_just_its_rows_in_their_order_mixed_and_repeated(tiny_folder):
    images = data.folder(tiny_folder, size=16)
    rows = torch.tensor([13, 2, 7, 2, 11])
    stream = images.rows(rows, batch=2)
    assert greys(stream) == greys(stream) == [120, 40, 140, 40, 20]
    assert stream.y.tolist() == [1, 0, 1, 0, 0] == torch.cat([y for _, y in stream]).tolist()


def test_a_stream_of_several_workers_gives_what_one_without_gives(tiny_folder):
    rows = torch.tensor([13, 2, 7, 2, 11])
    alone, ahead = (data.folder(tiny_folder, size=16, workers=n).rows(rows, batch=2) for n in (0, 2))
    for one, other in zip(alone, ahead, strict=True):
        assert all(map(torch.equal, one, other))


def test_a_stream_is_iterated_anew_in_an_order_set_by_seed_and_epoch(tiny_folder):
    images = data.folder(tiny_folder, size=16)
    train = images.rows(torch.arange(10), batch=4, shuffle=True, seed=1)
    first, again = greys(train), greys(train)
    train.set_epoch(1)
    later = greys(train)
    assert first == again and later != first and sorted(later) == sorted(first)
    assert greys(images.rows(torch.arange(10), batch=4, shuffle=True, seed=2)) != first
    state = torch.get_rng_state()
    greys(train)
    assert torch.equal(state, torch.get_rng_state())


def test_labels_of_a_shuffled_stream_stay_with_their_images(tiny_folder):
    train = data.folder(tiny_folder, size=16).rows(torch.arange(10), batch=3, shuffle=True)
    assert [grey >= 100 for grey in greys(train)] == [bool(label) for _, y in train for label in y]


def test_a_stream_tells_its_settings_in_plain_values_and_two_that_differ_tell_others(tiny_folder):
    images, rows = data.folder(tiny_folder, size=16), torch.arange(6)
    stream = images.rows(rows, batch=4)
    assert all(type(value) in (str, int, bool) for value in stream.identity.values())
    assert stream.identity == data.folder(tiny_folder, size=16, workers=3).rows(rows, batch=4).identity
    stream.set_epoch(5)
    assert stream.identity == images.rows(rows, batch=4).identity, "where it stands is not a setting"
    others = [
        images.rows(rows, batch=5),
        images.rows(rows.flip(0), batch=4),
        images.rows(rows, batch=4, seed=1),
        images.rows(rows, batch=4, shuffle=True),
        data.folder(tiny_folder, size=24).rows(rows, batch=4),
    ]
    (tiny_folder / "val" / "n01" / "1.JPEG").rename(tiny_folder / "val" / "n01" / "another.JPEG")
    others.append(data.folder(tiny_folder, size=16).rows(rows, batch=4))
    assert all(stream.identity != other.identity for other in others)


def test_logits_of_an_unshuffled_stream_come_in_row_order_as_those_of_tensors(tiny_folder):
    images, rows = data.folder(tiny_folder, size=16), torch.tensor([13, 2, 7, 2, 11])
    model = models.build("small_cnn", images.shape, images.classes, scale=(images.mean, images.std))
    logits, labels = training.logits(model, images.rows(rows, batch=2))
    x = torch.cat([x for x, _ in images.rows(rows)])
    torch.testing.assert_close(logits, training.logits(model, x))
    assert torch.equal(labels, images.y[rows])


def test_rows_of_a_data_set_in_memory_are_its_tensors():
    digits, rows = data.load("digits"), torch.tensor([5, 1000, 5])
    x, y = digits.rows(rows, batch=2, shuffle=True, seed=1)
    assert torch.equal(x, digits.x[rows]) and torch.equal(y, digits.y[rows])


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (torch.tensor([0, 14]), "row_ids run from 0 to 14, expected 0 to 13"),
        (torch.tensor([-1, 3]), "run from -1 to 3"),
        (torch.ones(14, dtype=torch.bool), "must be int64"),
        (torch.tensor([[1]]), "must be int64"),
    ],
)
def test_rows_that_are_no_rows_of_the_data_set_are_refused(tiny_folder, rows, match):
    dataset = data.load("digits")
    for source in (data.folder(tiny_folder), replace(dataset, x=dataset.x[:14], y=dataset.y[:14])):
        with pytest.raises(ValueError, match=match):
            source.rows(rows)


def test_a_named_folder_that_is_not_all_there_is_refused(tiny_folder, monkeypatch):
    (tiny_folder.parent / "imagenet").symlink_to(tiny_folder)
    with pytest.raises(data.DataError, match=r"10 \+ 4 images of 2 classes, not 1,281,167 \+ 50,000 images of 1000"):
        data.load("imagenet", root=tiny_folder.parent)
    planted = known.Known("imagenet", (3, 24, 24), 2, 14, 10)
    monkeypatch.setitem(known._BY_NAME, "imagenet", planted)
    images = data.load("imagenet", root=tiny_folder.parent, workers=2)
    assert (images.name, images.shape, images.train, images.workers) == ("imagenet", (3, 24, 24), 10, 2)


@pytest.mark.parametrize("name", ["tiny-imagenet-10", "imagenet"])
def test_a_missing_folder_says_what_to_put_where(name, tmp_path):
    (tmp_path / name / "train").mkdir(parents=True)
    with pytest.raises(data.DataError) as error:
        data.load(name, root=tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/{name}/val is missing; put {tmp_path}/{name}/{{train,val}}/<class>/*.JPEG")
    assert "http" in message and "MIALAB_DATA" in message and "\n" not in message


def test_a_bad_image_folder_is_a_clear_error(tiny_folder, tmp_path):
    with pytest.raises(data.DataError, match="ImageNet's layout"):
        data.folder(tmp_path / "absent")
    (tiny_folder / "val" / "n03").mkdir()
    with pytest.raises(data.DataError, match="n03"):
        data.folder(tiny_folder)
    Image.new("RGB", (8, 8)).save(tiny_folder / "val" / "n03" / "0.JPEG")
    with pytest.raises(data.DataError, match="differ in classes .n03"):
        data.folder(tiny_folder)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_damaged_image_is_named(tiny_folder, content):
    image = tiny_folder / "val" / "n01" / "1.JPEG"
    image.write_bytes(image.read_bytes()[:-80] if content is None else content)
    images = data.folder(tiny_folder, size=16)
    with pytest.raises(data.DataError, match=r"n01/1.JPEG.*not a whole image"):
        list(images.rows(torch.arange(10, 14)))
    assert len(list(images.rows(torch.arange(10)))) == 1, "others can still be read"


def test_hidden_names_among_images_are_passed_over(tiny_folder):
    before = data.folder(tiny_folder, size=16)
    for part in ("train", "val"):
        (tiny_folder / part / ".ipynb_checkpoints").mkdir()
        (tiny_folder / part / "n01" / ".cache").mkdir()
        for place in ("n01/._0.JPEG", "n01/.DS_Store", "n01/.cache/0.JPEG", ".DS_Store"):
            (tiny_folder / part / place).write_bytes(b"no image")
    after = data.folder(tiny_folder, size=16)
    assert (after.files, after.class_names) == (before.files, before.class_names)
    assert len(list(after.rows(torch.arange(14)))) == 1


def test_sixteen_bits_are_scaled_and_not_turned_white(tiny_folder):
    place = tiny_folder / "val" / "n01" / "1.png"
    (tiny_folder / "val" / "n01" / "1.JPEG").unlink()
    Image.fromarray(np.full((30, 40), 20 * 257, np.uint16)).save(place)
    images = data.folder(tiny_folder, size=16)
    ((x, _),) = images.rows(torch.arange(11, 12))
    assert x.unique().tolist() == [20]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.float32(0.5), "floating-point numbers.*8 or 16 bits"),
        (np.int32(70_000), "from 70000 to 70000.*8 or 16 bits"),
    ],
)
def test_numbers_of_no_known_range_are_refused_by_the_file_s_name(tiny_folder, pixels, words):
    (tiny_folder / "val" / "n01" / "1.JPEG").unlink()
    Image.fromarray(np.full((30, 40), pixels)).save(tiny_folder / "val" / "n01" / "1.tiff")
    images = data.folder(tiny_folder, size=16)
    with pytest.raises(data.DataError, match=f"n01/1.tiff.*{words}"):
        list(images.rows(torch.arange(10, 14)))


@needs_real_data
def test_real_photographs_stream_from_tiny_imagenet():
    path = Path(REAL) / "tiny-imagenet-10"
    if not path.is_dir():
        pytest.skip("MIALAB_DATA lacks tiny-imagenet-10")
    images = data.folder(path, size=32)
    assert images.classes == 10 and len(images) == 5500
    seen = [(x, y) for x, y in images.rows(torch.arange(5000, 5500), batch=100)]
    assert sum(len(y) for _, y in seen) == 500 and all(x.shape[1:] == (3, 32, 32) for x, _ in seen)
    assert torch.bincount(torch.cat([y for _, y in seen])).tolist() == [50] * 10
    modes = {Image.open(p).mode for p in (path / "val").rglob("*.JPEG")}
    assert modes == {"RGB", "L"}, "the greyscale case is not covered any more"


def test_tiny_imagenet_is_a_data_set_whose_rows_can_be_dealt_to_roles():
    images = real("tiny-imagenet-10")
    assert (images.name, images.shape, images.classes, images.train) == ("tiny-imagenet-10", (3, 64, 64), 10, 5000)
    assert torch.bincount(images.y[:5000]).tolist() == [500] * 10
    roles = splits.arrange(splits.PRUNING, images, seed=0)
    assert torch.bincount(images.y[roles.target_train]).tolist() == [220] * 10
    rows, member = roles.evaluation()
    some = torch.cat([rows[member][-30:], rows[~member][:30]])
    x, y = next(iter(images.rows(some)))
    assert x.shape == (60, 3, 64, 64) and torch.equal(y, images.y[some])
    file = Path(REAL) / "tiny-imagenet-10" / images.files[some[0]]
    assert file.parent.name == images.class_names[y[0]] and file.is_file()


def test_a_net_learns_its_members_from_a_stream_by_heart_and_no_others():
    images = real("tiny-imagenet-10")
    roles = splits.arrange(splits.PRUNING, images, seed=0)
    members, others = roles.audit_in[::25], roles.audit_out[::25]
    train = images.rows(members, batch=20, shuffle=True)
    fitted = training.fit(
        lambda: models.build("small_cnn", images.shape, images.classes, scale=(images.mean, images.std)),
        train,
        training.Recipe(epochs=30, batch=20, lr=2e-3, optimizer="adam"),
        progress=False,
    )
    right = []
    for rows in (members, others):
        logits, labels = training.logits(fitted.model, images.rows(rows))
        assert torch.equal(labels, images.y[rows])
        right.append((logits.argmax(1) == labels).float().mean().item())
    assert right[0] > right[1] + 0.3, right


@pytest.mark.parametrize(
    ("name", "shape", "n", "train", "classes"),
    [
        ("mnist", (1, 28, 28), 70_000, 60_000, 10),
        ("fashion-mnist", (1, 28, 28), 70_000, 60_000, 10),
        ("cifar10", (3, 32, 32), 60_000, 50_000, 10),
        ("cifar100", (3, 32, 32), 60_000, 50_000, 100),
    ],
)
def test_real_images_have_their_published_sizes_and_channel_statistics(name, shape, n, train, classes):
    dataset = real(name)
    assert dataset.shape == shape and len(dataset) == n and dataset.train == train and dataset.classes == classes
    assert dataset.x.dtype == torch.uint8 and dataset.x.is_contiguous()
    counts = torch.bincount(dataset.y[train:], minlength=classes)
    assert dataset.y.unique().numel() == classes and counts.min() > 0.8 * (n - train) / classes
    some = dataset.x[:train:37].double() / 255  # an odd step: MNIST's rows alternate between two groups of writers
    # CIFAR's are the training code's own: a common mean for both sets and an std within images.
    tolerance = 0.08 if name.startswith("cifar") else 0.01
    assert some.mean((0, 2, 3)).tolist() == pytest.approx(dataset.mean, abs=tolerance)
    assert some.std((0, 2, 3)).tolist() == pytest.approx(dataset.std, abs=tolerance)


@pytest.mark.parametrize("wrong", ["a pixel", "the other set"])
def test_real_mnist_files_are_checked_without_the_packed_ones_beside_them(wrong, tmp_path):
    raw = Path(REAL or "absent") / "MNIST" / "raw"
    others = raw.parents[1] / "FashionMNIST" / "raw"
    if not (raw / "t10k-images-idx3-ubyte").is_file() or not (others / "t10k-images-idx3-ubyte").is_file():
        pytest.skip("MIALAB_DATA is not set or lacks MNIST or FashionMNIST")
    copies = tmp_path / "MNIST" / "raw"
    copies.mkdir(parents=True)
    for file in raw.glob("*-ubyte"):
        (copies / file.name).symlink_to(file)
    assert len(data.load("mnist", root=tmp_path, download=False)) == 70_000
    altered = copies / "t10k-images-idx3-ubyte"
    altered.unlink()
    content = bytearray(((raw if wrong == "a pixel" else others) / altered.name).read_bytes())
    content[4000] ^= wrong == "a pixel"
    altered.write_bytes(content)
    with pytest.raises(data.DataError, match="t10k-images-idx3-ubyte: truncated or altered"):
        data.load("mnist", root=tmp_path, download=False)


def test_real_cifar10_rows_are_torchvisions_rows_train_first():
    from torchvision.datasets import CIFAR10

    dataset = real("cifar10")
    for train, first in ((True, 0), (False, 50_000)):
        theirs = CIFAR10(REAL, train=train)
        for i in (0, 1, 9_999):
            image, label = theirs[i]
            assert np.array_equal(dataset.x[first + i].permute(1, 2, 0).numpy(), np.asarray(image))
            assert dataset.y[first + i] == label


def test_real_adult_is_standardised_by_its_training_rows_and_one_hot():
    adult = real("adult")
    assert len(adult) == 48_842 and adult.train == 32_561 and adult.shape == (108,)
    numeric, one_hot = adult.x[:32_561, :6].double(), adult.x[:, 6:]
    assert numeric.mean(0).abs().max() < 1e-5 and (numeric.std(0) - 1).abs().max() < 1e-4
    assert adult.x[32_561:, :6].double().mean(0).abs().max() > 1e-3
    assert set(one_hot.unique().tolist()) == {0.0, 1.0} and (one_hot.sum(1) == 8).all()
    assert (adult.y[:32_561].sum().item(), adult.y[32_561:].sum().item()) == (7841, 3846)


def test_real_location30_has_its_published_size():
    location = real("location30")
    assert location.x.shape == (5010, 446) and location.y.unique().numel() == location.classes == 30
    assert set(location.x.unique().tolist()) == {0.0, 1.0} and location.train is None
    assert torch.bincount(location.y)[[0, 7, 29]].tolist() == [169, 308, 179]
