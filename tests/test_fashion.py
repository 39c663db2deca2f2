"""The embedded Fashion-MNIST images: the official ones, balanced in every beginning, refused if altered."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from mialab import data
from mialab.data import fashion
from mialab.data.fashion import make


@pytest.fixture(scope="module")
def embedded():
    return data.load("fashion")


@pytest.fixture(scope="module")
def official():
    if not os.environ.get("MIALAB_DATA"):
        pytest.skip("MIALAB_DATA is not set: no official files to compare with")
    try:
        return data.load("fashion-mnist", download=False)
    except data.DataError as error:
        pytest.skip(f"MIALAB_DATA lacks fashion-mnist: {error}")


def test_it_holds_8000_grey_images_training_rows_first(embedded):
    assert embedded.x.dtype == torch.uint8 and embedded.x.shape == (8000, 1, 28, 28) and embedded.x.is_contiguous()
    assert embedded.name == "fashion" and embedded.train == 4000 and embedded.classes == 10
    assert embedded.x.unique().tolist() == list(range(256))
    scaled = embedded.x.double() / 255
    assert scaled.mean().item() == pytest.approx(embedded.mean[0], abs=0.003)
    assert scaled.std().item() == pytest.approx(embedded.std[0], abs=0.003)


@pytest.mark.parametrize("rows", [slice(0, 10), slice(0, 1000), slice(0, 4000), slice(4000, 4500), slice(4000, 8000)])
def test_every_beginning_of_a_part_holds_each_class_equally_often(embedded, rows):
    labels = embedded.y[rows]
    assert torch.bincount(labels, minlength=10).tolist() == [len(labels) // 10] * 10


def test_no_image_stands_twice(embedded):
    assert len(np.unique(embedded.x.numpy().reshape(8000, -1), axis=0)) == 8000


def test_the_rows_are_the_official_ones_that_the_docstring_names(embedded, official):
    for first, part in ((0, slice(0, 60_000)), (4000, slice(60_000, 70_000))):
        x, y = official.x[part], official.y[part]
        for label in range(10):
            ours = embedded.x[first : first + 4000][label::10]
            assert torch.equal(ours, x[y == label][:400])
            assert (embedded.y[first : first + 4000][label::10] == label).all()


def test_the_script_makes_the_images_that_are_committed(official, capsys):
    assert np.array_equal(make.official_images(), fashion.pixels())
    assert make.main(["--check"]) == 0
    assert "are the official ones" in capsys.readouterr().out


def test_the_script_writes_a_picture_that_loads(official, embedded, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fashion, "IMAGES", tmp_path / "images.png")
    assert make.main([]) == 0
    assert fashion.PIXELS_SHA256 in capsys.readouterr().out
    assert torch.equal(data.load("fashion").x, embedded.x)


def test_the_file_is_small():
    assert fashion.IMAGES.stat().st_size < 3_200_000


@pytest.mark.parametrize("samples", [(1, 0), (1000, 2500), (4000, 4000)])
def test_samples_take_the_first_rows_of_each_part(embedded, samples):
    train, test = samples
    some = data.load("fashion", samples=samples)
    assert some.train == train and len(some) == train + test
    assert torch.equal(some.x, torch.cat([embedded.x[:train], embedded.x[4000 : 4000 + test]]))
    assert torch.equal(some.y, torch.cat([embedded.y[:train], embedded.y[4000 : 4000 + test]]))


@pytest.mark.parametrize("samples", [(4001, 10), (10, 4001), (0, 10), (10, -1)])
def test_more_samples_than_there_are_is_an_error_that_names_the_sizes_and_the_remedy(samples):
    with pytest.raises(ValueError, match="4,000 training and 4,000 test.*train from 1 to 4000.*'fashion-mnist'"):
        data.load("fashion", samples=samples)


def one_pixel(picture, path):
    altered = np.array(Image.open(picture))
    altered[1000, 1000] ^= 1
    Image.fromarray(altered).save(path)


def other_size(picture, path):
    Image.fromarray(np.array(Image.open(picture))[:-1]).save(path)


def truncated(picture, path):
    path.write_bytes(picture.read_bytes()[:-50_000])


def no_picture(picture, path):
    path.write_bytes(b"no picture")


def missing(picture, path):
    pass


@pytest.mark.parametrize("damage", [one_pixel, other_size, truncated, no_picture, missing])
def test_an_altered_picture_is_refused_with_the_remedy(damage, tmp_path, monkeypatch):
    path = tmp_path / "images.png"
    damage(fashion.IMAGES, path)
    monkeypatch.setattr(fashion, "IMAGES", path)
    with pytest.raises(data.DataError, match="install mialab again") as error:
        data.load("fashion")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_classes_have_names_where_they_are_garments_and_numbers_elsewhere():
    assert data.class_names("fashion") == data.class_names("fashion-mnist")
    assert data.class_names("fashion")[9] == "Ankle boot" and len(data.class_names("fashion")) == 10
    assert data.class_names("textures")[3] == "class 3"
    with pytest.raises(ValueError, match="'fashon'.*fashion"):
        data.class_names("fashon")


def test_the_licence_and_the_source_lie_beside_the_images():
    folder = fashion.IMAGES.parent
    assert "Copyright © 2017 Zalando SE" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "zalandoresearch/fashion-mnist" in (folder / "SOURCE.md").read_text(encoding="utf-8")
