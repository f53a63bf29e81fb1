"""What is said of an answer that follows from another input, another step, a known mistake, or other places."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from helpers.checks import Wrong, ask, checker, name_the_mistake
from helpers.checks.alternatives import PAIRS, REDUCTIONS
from helpers.checks.changes import changes_of, others

RANDOM = torch.Generator().manual_seed(3)
MAPS = torch.randn(3, 5, 4, 6, generator=RANDOM, dtype=torch.double) + 0.4
GRADIENTS = torch.randn(3, 5, 4, 6, generator=RANDOM, dtype=torch.double)


def right(maps, gradients, floor=0.2):
    """Weight each map by the mean of its gradient, add up, take off a floor, cut off."""
    weights = gradients.mean((2, 3), keepdim=True)
    return ((weights * maps).sum(1) - floor).relu()


@checker
def check_weighted(function):
    """Check a function like ``right``, one of whose mistakes is known."""
    got = ask(function, MAPS.clone(), GRADIENTS.clone())
    known = {"the maps are not weighted.": (MAPS.sum(1) - 0.2).relu()}
    name_the_mistake(got, known, right(MAPS, GRADIENTS), what="the map", by=right)
    return "so it is."


def weighted(change=lambda w: w, of=lambda g: g.mean((2, 3), keepdim=True), end=lambda t: (t - 0.2).relu()):
    return lambda maps, gradients: end((change(of(gradients)) * maps).sum(1))


WAYS = {
    "this would be right for maps squared in place of maps": lambda maps, gradients: right(maps**2, gradients),
    "this would be right for gradients without its border": lambda maps, gradients: right(
        maps, gradients[..., 1:-1, 1:-1]
    ),
    "with the median in place of the mean over axes 2 and 3": weighted(
        of=lambda g: g.flatten(2).median(2).values[..., None, None]
    ),
    "this would be right for gradients averaged along axis 0": weighted(of=lambda g: g.mean((0, 2, 3), keepdim=True)),
    "with the last value in place of the mean": weighted(of=lambda g: g[..., -1:, -1:]),
    "with a + b in place of a * b": lambda maps, gradients: (
        (gradients.mean((2, 3), keepdim=True) + maps).sum(1) - 0.2
    ).relu(),
    "with a softmax of x along axis 1 in place of x, where x is the mean": weighted(lambda w: w.softmax(1)),
    "with each entry of x divided by its length in place of x, where x is the mean": weighted(
        lambda w: w / w.norm(dim=1, keepdim=True)
    ),
    "with 0.5 in place of the number 0.2 in the difference": weighted(end=lambda t: (t - 0.5).relu()),
    "if the ReLU (of shape [3, 4, 6]) is left out": weighted(end=lambda t: t - 0.2),
    "with softplus in place of the ReLU": weighted(end=lambda t: F.softplus(t - 0.2)),
    "two things are wrong. The first: the maps are not weighted. The second: every value is 3 times": (
        lambda maps, gradients: 3 * (maps.sum(1) - 0.2).relu()
    ),
    "two things are wrong. The first: the maps are not weighted. The second: it is squared": (
        lambda maps, gradients: (maps.sum(1) - 0.2).relu() ** 2
    ),
    "the map has 0.25 times this mistake in it (0 is none, 1 is all of it): the maps are not weighted": (
        lambda maps, gradients: 0.75 * right(maps, gradients) + 0.25 * (maps.sum(1) - 0.2).relu()
    ),
    "this is 1 times the right answer plus 2 times `maps` averaged along axis 1": lambda maps, gradients: (
        right(maps, gradients) + 2 * maps.mean(1)
    ),
    "this is the right answer divided by `maps` averaged along axis 1": lambda maps, gradients: (
        right(maps, gradients) / maps.mean(1)
    ),
    "Besides, every value is multiplied by 0.7": lambda maps, gradients: 0.7 * right(maps.abs(), gradients),
    "is not moved by `maps` at [0, 0, 2, 3]; the right answer is": lambda maps, gradients: (
        (gradients.mean((2, 3), keepdim=True) * (1.3 + maps).square() * (torch.arange(5) > 0).view(5, 1, 1)).sum(1) + 9
    ),
    "is moved by `maps` at ": lambda maps, gradients: (
        (gradients.mean((2, 3), keepdim=True) * maps).sum(1).cos() + maps.flatten(1).sin().sum(1).view(3, 1, 1) + 40
    ),
}


@pytest.mark.parametrize("sentence", WAYS)
def test_another_way_is_named(sentence, capsys):
    assert check_weighted(WAYS[sentence]) is False
    assert sentence in capsys.readouterr().out


@pytest.mark.parametrize("sentence", [one for one in WAYS if "moved by" not in one][::3])
def test_noise_takes_the_sentence_away(sentence, capsys):
    """A way is named only if it gives the very values, and an answer that is no such way gets none of them."""
    noise = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    assert check_weighted(lambda maps, gradients: WAYS[sentence](maps, gradients) + 0.1 * noise) is False
    said = capsys.readouterr().out
    assert sentence not in said and "what comes out" not in said and "two things" not in said


def test_the_right_function_is_right_however_it_is_written(capsys):
    def loops(maps, gradients):
        out = torch.zeros(3, 4, 6, dtype=maps.dtype)
        for n in range(3):
            for k in range(5):
                out[n] += gradients[n, k].mean() * maps[n, k]
        return (out - 0.2).clamp(min=0)

    assert check_weighted(right) is True and check_weighted(loops) is True


def test_a_search_warns_of_nothing_leaves_chance_alone_and_does_not_stop_the_check(capsys):
    def wrong(maps, gradients):
        if not torch.equal(maps, MAPS):
            raise KeyError("only these maps")
        return maps[:, 0].cos() + gradients[:, 1]

    torch.manual_seed(1)
    first = torch.rand(1)
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_weighted(wrong) is False
    assert torch.rand(1) == first and "off by up to" in capsys.readouterr().out


def test_few_values_are_told_only_if_other_inputs_agree(capsys):
    @checker
    def check_hits(function):
        scores = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.3, 0.6], [0.2, -0.7, 0.4], [-0.9, 0.6, -0.3]])
        scores = torch.cat([scores, torch.tensor([[0.3, 0.2, -0.1], [0.1, 0.5, 0.2], [0.1, 0.2, 0.9]])])
        labels = torch.tensor([1, 1, 2, 1, 0, 1, 2])

        def share(scores, labels):
            return (scores.argmax(1) == labels).double().mean()

        name_the_mistake(ask(function, scores, labels), {}, share(scores, labels), what="the share", by=share)
        return "so it is."

    assert check_hits(lambda scores, labels: (scores.abs().argmax(1) == labels).double().mean()) is False
    assert "right for abs(scores) in place of scores" in capsys.readouterr().out
    assert check_hits(lambda scores, labels: 0.5 + 0 * scores.sum().double()) is False
    assert "comes out" not in capsys.readouterr().out


# --- values alone ---

GRID = torch.randn(4, 9, 11, generator=RANDOM, dtype=torch.double)
PLACES = {
    "values above 0.8 are cut off": GRID.clamp(max=0.8),
    "values below -0.5 and above 0.8 are cut off": GRID.clamp(-0.5, 0.8),
    "values of a size up to 0.4803 are set to zero": torch.where(GRID.abs() > 0.5, GRID, 0.0),
    "inside, each value of the map is a weighted sum of the right values around it, with weights 0.11": (
        F.avg_pool2d(GRID, 3, 1, 1)
    ),
    "inside, the map is moved by 0.5 places down and 0 to the right": (GRID + GRID.roll(1, 1)) / 2,
    "inside, the map is moved by 0 places down and -0.5 to the right": (GRID + GRID.roll(-1, 2)) / 2,
    "the values of each entry of the map are in the right order": (
        (GRID + torch.arange(4.0).view(4, 1, 1)).exp() + torch.tensor([9.0, 1, 4, 2]).view(4, 1, 1)
    ),
    "always too far from zero; what is different there?": torch.where(
        GRID.cos() > 0.7, GRID, GRID * (2 + GRID.sin().abs() + 9 * GRID.cos() ** 2)
    ),
}


@pytest.mark.parametrize("sentence", PLACES)
def test_places_limits_and_neighbours_are_told(sentence):
    with pytest.raises(Wrong) as wrong:
        name_the_mistake(PLACES[sentence], {}, GRID, what="the map")
    assert sentence in str(wrong.value)
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(6), dtype=torch.double)
    with pytest.raises(Wrong) as wrong:
        name_the_mistake(PLACES[sentence] + 0.2 * noise, {}, GRID, what="the map")
    assert sentence not in str(wrong.value)


def test_the_last_resort_says_how_alike_the_answers_are():
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(6), dtype=torch.double)
    for got, said in ((GRID + 0.1 * noise, "nearly the right pattern"), (noise, "no likeness")):
        with pytest.raises(Wrong, match=said):
            name_the_mistake(got, {}, GRID)


# --- the tables ---


@pytest.mark.parametrize("value", [MAPS, torch.tensor([2, 0, 1]), 3, 0.5, [MAPS[0], MAPS[1]], torch.sin])
def test_no_change_writes_into_its_value(value):
    before = value.clone() if torch.is_tensor(value) else value
    found = dict(others(value))
    assert len(found) > 1 and (torch.equal(before, value) if torch.is_tensor(value) else before is value)


def test_all_changes_have_words_of_their_own():
    words = [how for how, _ in changes_of(MAPS)]
    assert len(words) == len(set(words)) > 100


@pytest.mark.parametrize("how", REDUCTIONS)
def test_each_reduction_takes_the_last_axis(how):
    assert REDUCTIONS[how](MAPS.abs()).shape == MAPS.shape[:-1]


@pytest.mark.parametrize("how", PAIRS)
def test_each_pair_is_put_together(how):
    assert PAIRS[how](MAPS, GRADIENTS.abs()).shape == MAPS.shape
