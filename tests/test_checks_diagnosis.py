"""What a checker says of a mistake that its exercise does not know: it is true, and no right answer is hit."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from helpers.checks import Wrong, ask, checker, name_the_mistake, steps, traces
from helpers.checks.changes import CHANGES

RANDOM = torch.Generator().manual_seed(0)
MAPS = torch.randn(3, 4, 4, generator=RANDOM, dtype=torch.double) + 0.3  # of both signs, and of no symmetry
WHOLE = {"inside": MAPS.clone(), "border": MAPS.clone()}
WHOLE["inside"][:, 1:-1, 1:-1] += 1
WHOLE["border"] += 1
WHOLE["border"][:, 1:-1, 1:-1] -= 1


def some(change, *indices):
    """Return MAPS with other values at some places."""
    maps = MAPS.clone()
    maps[indices] = change(maps[indices])
    return maps


def scaled(maps, dims, by):
    return maps / by(maps, dims, keepdim=True)


SENTENCES = [
    ("every value of your map is 2 times too large", 2 * MAPS),
    ("every value of your map is 3 times too small and of the other sign", -MAPS / 3),
    ("16 times too large; is it a sum over 16 values in place of their mean?", 16 * MAPS),
    ("48 times too small; is it a mean over 48 values in place of their sum?", MAPS / 48),
    ("every value of your map is 4.01 times too large", 4.01 * MAPS),
    ("the sign of your map is turned", -MAPS),
    ("the absolute value is taken", MAPS.abs()),
    ("leave out the ReLU", MAPS.relu()),
    ("positive values are set to zero", MAPS.clamp(max=0)),
    ("only what is negative is left, with its sign turned", (-MAPS).relu()),
    ("use flip(-1)", MAPS.flip(-1)),
    ("use flip(-2)", MAPS.flip(-2)),
    ("use flip(-1, -2)", MAPS.flip(-1, -2)),
    ("rows and columns of your map are exchanged", MAPS.mT),
    ("turned by a quarter of a turn", MAPS.mT.flip(-1)),
    ("is turned round along the first axis", MAPS.flip(0)),
    ("the values of your map are squared", MAPS.square()),
    ("this is 1 minus the values", 1 - MAPS),
    ("a softmax along axis 0", MAPS.softmax(0)),
    ("a log-softmax along axis 2", MAPS.log_softmax(2)),
    ("a softmax over the places", MAPS.flatten(1).softmax(1).view_as(MAPS)),
    ("a sigmoid", MAPS.sigmoid()),
    ("rounded to one decimal", MAPS.round(decimals=1)),
    ("divided by its largest value, as a whole", MAPS / MAPS.max()),
    ("divided by its largest value, over axes 1 and 2", scaled(MAPS, (1, 2), torch.amax)),
    ("divided by its sum, over axes 1 and 2", scaled(MAPS, (1, 2), torch.sum)),
    ("stretched from 0 to 1", (MAPS - MAPS.min()) / (MAPS.max() - MAPS.min())),
    ("its mean is zero (the mean is subtracted), over axes 1 and 2", MAPS - MAPS.mean((1, 2), keepdim=True)),
    ("to every value of your map 0.25 is added", MAPS + 0.25),
    ("is 3 times the right one plus 7", 3 * MAPS + 7),
    ("a factor of its own at each index of axis 0, from 1 to 3", MAPS * torch.tensor([1.0, 2, 3])[:, None, None]),
    ("something is added at each index of axis 0, from 1 to 3", MAPS + torch.tensor([1.0, 2, 3])[:, None, None]),
    ("is moved by one place along axis 2", MAPS.roll(1, 2)),
    ("in another order along axis 0", MAPS[[1, 2, 0]]),
    ("the right values at other places", MAPS.flatten()[torch.randperm(48, generator=RANDOM)].view_as(MAPS)),
    ("is nearly right, to two or three digits", MAPS + 1e-3 * MAPS.square()),
    ("is right inside and wrong at the border", WHOLE["border"]),
    ("is right at the border and wrong inside", WHOLE["inside"]),
    ("is right at index 0 of axis 0 alone", some(lambda m: m.exp() + m, slice(1, 3))),
    ("is wrong at index 2 of axis 1 alone", some(lambda m: m.exp() + m, slice(None), 2)),
    ("is right only where it should be above zero", torch.where(MAPS > 0, MAPS, MAPS**2 - 3 * MAPS)),
    ("is right but for 1 of 48 values", some(lambda m: m + 9, 1, 1, 1)),
    ("is the same for all entries of the first axis", MAPS[:1].expand(3, 4, 4)),
    ("every value of your map is 7", torch.full_like(MAPS, 7)),
    ("in the right order and wrong in size", MAPS**3 + MAPS),
    ("has 1 values that are NaN or infinite, the first at [0, 2, 1]", some(lambda m: m / 0, 0, 2, 1)),
    ("axes 0 and 1 are exchanged", MAPS.transpose(0, 1)),
    ("the values are right, reshape or unflatten", MAPS.flatten(1)),
    ("squeeze or unsqueeze", MAPS[None]),
    ("the values are averaged over axes 1 and 2, which must stay", MAPS.mean((1, 2))),
    ("the values are added up over axis 0, which must stay", MAPS.sum(0)),
    ("this is entry 1 of the first axis alone", MAPS[1]),
    ("is off by up to", MAPS.sin() + MAPS.flip(0).cos()),
]


def said(got, right=MAPS, what="your map", **options):
    with pytest.raises(Wrong) as wrong:
        name_the_mistake(got, {}, right, what=what, **options)
    return str(wrong.value)


@pytest.mark.parametrize(("sentence", "got"), SENTENCES)
def test_an_unknown_mistake_is_described(sentence, got):
    message = said(got)
    assert sentence in message and "{" not in message
    if got.shape == MAPS.shape and got.isfinite().all():
        first = ((got - MAPS).abs() > 1e-4 * MAPS.abs().max()).nonzero()[0].tolist()
        assert f"The first wrong value is at {first}: it is {got[tuple(first)]:.4g}" in message


@pytest.mark.parametrize(("sentence", "got"), SENTENCES)
def test_no_sentence_hits_another_mistake(sentence, got):
    """A step is named only if it gives this answer: noise on top of it takes the sentence away."""
    if got.isfinite().all() and got.shape == MAPS.shape and "right" not in sentence and "off" not in sentence:
        noise = torch.randn(MAPS.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
        assert sentence not in said(got + 0.3 * noise)


@pytest.mark.parametrize(("_", "step"), steps.STEPS)
def test_a_step_that_changes_nothing_is_never_named(_, step):
    """A right answer that is symmetric, positive, ... is still right, and its other mistakes are not blamed on it."""
    assert len({sentence for sentence, _ in steps.STEPS}) >= len(steps.STEPS) - 1
    try:
        right = step(MAPS)
    except IndexError:
        return
    right = right.nan_to_num(0.5)
    name_the_mistake(right.clone(), {}, right)
    symmetric = torch.ones(3, 4, 4, dtype=torch.double) * torch.tensor([1.0, 2, 2, 1])
    message = said(symmetric * 2, symmetric)
    assert "2 times too large" in message and "flip" not in message


def test_known_mistakes_come_first():
    with pytest.raises(Wrong, match="a name of its own"):
        name_the_mistake(-MAPS, {"a name of its own": -MAPS}, MAPS)


@pytest.mark.parametrize("what", ["the maps after 2 steps", "the shares", "the mass inside", "the pair of shares"])
def test_the_verb_fits_the_name(what):
    many = what in ("the maps after 2 steps", "the shares")
    assert f"{what} {'are' if many else 'is'} turned round along the first axis" in said(MAPS.flip(0), what=what)


def test_a_single_number_is_told_round_factors_only():
    right = torch.tensor(0.3721)
    assert "100 times too large" in said(100 * right, right)
    assert "off by up to" in said(1.37 * right, right) and "times" not in said(1.37 * right, right)


HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("way", [lambda t: t, lambda t: t.float(), lambda t: list(t)])
def test_half_precision_is_right_with_a_word(kind, way, capsys):
    @checker
    def check(answer):
        name_the_mistake(answer, {"a thousandth too much": 1.02 * MAPS}, MAPS)
        return "so it is."

    answer = MAPS.to(kind)
    assert check(torch.stack(way(answer)) if isinstance(way(answer), list) else way(answer)) is True
    assert "Right: so it is. (In half precision" in capsys.readouterr().out
    assert check((1.02 * MAPS).to(kind)) is False
    assert "a thousandth too much" in capsys.readouterr().out


def test_half_precision_of_numpy_is_right_and_its_errors_in_float_are_not():
    name_the_mistake(MAPS.numpy().astype(np.float16), {}, MAPS)
    assert "nearly right" in said(MAPS + 1e-3 * MAPS.square())
    said(MAPS.half() * 1.02)


# --- what a function does ---


@checker
def check_centred(function):
    """Check maps [N, h, w] times weights [N], less the mean of each."""
    maps, weights = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2)), torch.tensor([1.0, 2.0, 4.0])

    def by(maps, weights):
        return weights[:, None, None] * (maps - maps.mean((1, 2), keepdim=True))

    got = ask(function, maps.clone(), weights.clone())
    name_the_mistake(got, {}, by(maps, weights), by=by)
    return "centred."


def centred(maps, weights):
    return weights[:, None, None] * (maps - maps.mean((1, 2), keepdim=True))


def with_a_change(maps, weights):
    maps -= maps.mean((1, 2), keepdim=True)
    return weights[:, None, None] * maps


BEHAVIOURS = {
    "your function returns `maps` as it was given": lambda maps, weights: maps,
    "two calls with the same inputs give two answers": lambda maps, weights: centred(maps, torch.rand(3)),
    "keep the entries apart": lambda maps, weights: weights[:, None, None] * (maps.sqrt() - maps.mean()),
    "your answer stays the same when `weights` changes": lambda maps, weights: (
        3 + maps.square() * maps.amax((1, 2), True)
    ),
    "right for weights squared in place of weights": lambda maps, weights: centred(maps, weights**2),
    "right for a softmax of maps along axis 2": lambda maps, weights: centred(maps.softmax(2), weights),
    "right for each entry of maps divided by its length": lambda maps, weights: centred(
        maps / maps.flatten(1).norm(dim=1)[:, None, None], weights
    ),
    "the values are right, but your function wrote into `maps`": with_a_change,
    "Besides, your function wrote into `maps`": lambda maps, weights: 2 * with_a_change(maps, weights),
}


@pytest.mark.parametrize("sentence", BEHAVIOURS)
def test_a_behaviour_is_described(sentence, capsys):
    assert check_centred(BEHAVIOURS[sentence]) is False
    assert sentence in capsys.readouterr().out


def test_a_right_function_is_right_and_is_not_called_again(capsys):
    calls = []

    def counted(maps, weights):
        calls.append(1)
        return centred(maps, weights)

    assert check_centred(counted) is True and len(calls) == 1


def test_what_a_student_prints_is_not_printed_again(capsys):
    def loud(maps, weights):
        print("here")
        return maps.cos()

    assert check_centred(loud) is False
    assert capsys.readouterr().out.count("here") == 1


@pytest.mark.parametrize("how", CHANGES)
def test_no_change_of_an_input_raises_or_writes(how):
    before = MAPS.clone()
    CHANGES[how](MAPS)
    assert torch.equal(MAPS, before)


# --- what a function leaves behind ---


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(3, 2))


def run_in_train(net):
    net.train()
    net(torch.rand(4, 3))
    net.eval()


TRACES = {
    "came in eval() and went back in train()": lambda net: net.train(),
    "a part of `net` went back in another mode": lambda net: net[3].train(),
    "came back frozen": lambda net: net.requires_grad_(False),
    "now have a .grad": lambda net: net(torch.rand(4, 3)).sum().backward(),
    "1 hook of yours is still in `net`": lambda net: net[0].register_forward_hook(lambda *a: None),
    "2 hooks of yours are": lambda net: [part.register_full_backward_hook(lambda *a: None) for part in net[:2]],
    "somebody else had set is gone": lambda net: net[4]._forward_hooks.clear(),
    "0.weight of `net` has changed": lambda net: net[0].weight.data.zero_(),
    "1.running_mean of `net` has changed": run_in_train,
    "the setting inplace of layer '2'": lambda net: setattr(net[2], "inplace", False),
    "the setting p of layer '3'": lambda net: setattr(net[3], "p", 0.0),
    "has other layers than before": lambda net: net.append(nn.ReLU()),
}


@pytest.mark.parametrize("sentence", TRACES)
def test_what_is_left_in_a_model_is_told(sentence, capsys):
    @checker
    def check(function):
        net = model().eval()
        net[4].register_forward_hook(lambda *a: None)
        ask(function, net)
        return "nothing left."

    def untidy(net):
        TRACES[sentence](net)
        return 1

    assert check(untidy) is False
    assert sentence in capsys.readouterr().out
    assert check(lambda net: copy.deepcopy(net).train()(torch.rand(4, 3)).sum()) is True


def test_lists_arrays_and_names_are_watched():
    maps, array, rest = [torch.zeros(2), torch.ones(2)], np.zeros(2), "text"
    looks = [traces.watch(name, one) for name, one in (("maps", maps), ("array", array), ("rest", rest))]
    assert [look() for look in looks] == [[], [], []]
    maps[1][0] = 5
    array[0] = 1
    assert [len(look()) for look in looks] == [1, 1, 0] and "`maps[1]`" in looks[0]()[0]
    maps.pop()
    assert "other entries than before" in looks[0]()[0]
