"""The checkers of lesson *words* accept the folded solutions, name each known mistake and wait."""

import torch

from answers import answer_tests
from helpers.checks import words


def masks_first(ids, one, other):
    was_one, was_other = ids == one, ids == other
    found = ids.clone()
    found[was_one], found[was_other] = other, one
    return found


def by_table(ids, one, other):
    table = torch.arange(100)
    table[one], table[other] = other, one
    return table[ids]


def in_place(ids, one, other):
    ids[:] = by_table(ids.clone(), one, other)
    return ids


def one_after_the_other(ids, one, other):
    found = ids.clone()
    found[found == one] = other
    found[found == other] = one
    return found


def whole_texts(ids, one, other):
    has = ((ids == one) | (ids == other)).any(1, keepdim=True)
    return torch.where(has, one + other - ids, ids)


def padding_too(ids, one, other):
    return torch.where(ids == 0, other, by_table(ids, one, other))


RIGHT_SWAPS = {
    "masks first": masks_first,
    "a table": by_table,
    "a sum": lambda ids, one, other: torch.where((ids == one) | (ids == other), one + other - ids, ids),
    "word by word": lambda ids, one, other: ids.clone().apply_(lambda n: {one: other, other: one}.get(n, n)),
}
WRONG_SWAPS = {
    "the second step also takes what the first has just written": one_after_the_other,
    "both are now the other word": lambda ids, one, other: torch.where(ids == one, other, ids),
    "nothing is exchanged": lambda ids, one, other: ids,
    "the padding has changed": padding_too,
    "whole texts are changed": whole_texts,
    "this is a mask": lambda ids, one, other: ids == one,
    "wrote into `ids`": in_place,
    "they are floats": lambda ids, one, other: by_table(ids, one, other).float(),
    "the texts have shape": lambda ids, one, other: by_table(ids, one, other)[0],
}


def effects(m):
    return m[0, 1] - m[0, 0], m[1, 1] - m[1, 0]


def overwriting(m):
    found = effects(m)[0] - effects(m)[1]
    m -= m
    return found


RIGHT_INTERACTIONS = {
    "the other way round": lambda m: (m[1, 0] - m[0, 0]) - (m[1, 1] - m[0, 1]),
    "diff": lambda m: -m.diff(dim=0).diff(dim=1)[0, 0],
    "numpy": lambda m: m.numpy()[0, 1] - m.numpy()[0, 0] - m.numpy()[1, 1] + m.numpy()[1, 0],
    "signs": lambda m: (m * torch.tensor([[-1.0, 1.0], [1.0, -1.0]])[..., None]).sum((0, 1)),
}
WRONG_INTERACTIONS = {
    "you add the two differences": lambda m: effects(m)[0] + effects(m)[1],
    "in a verdict that is affirmed; take off": lambda m: effects(m)[0],
    "in a denial; take it off": lambda m: effects(m)[1],
    "the sign is turned": lambda m: effects(m)[1] - effects(m)[0],
    "the mean over reviews": lambda m: (effects(m)[0] - effects(m)[1]).mean(),
    "keep the sign": lambda m: (effects(m)[0] - effects(m)[1]).abs(),
    "what the denial does": lambda m: m[1].mean(0) - m[0].mean(0),
    "half of it": lambda m: (effects(m)[0] - effects(m)[1]) / 2,
    "wrote into `m`": overwriting,
    "the interaction is not moved by": lambda m: m[0, 0] * m[1, 0],
}

test_solution_and_blank, test_right, test_wrong, test_strict = answer_tests(
    words,
    "words",
    {"swap": (RIGHT_SWAPS, WRONG_SWAPS), "interaction": (RIGHT_INTERACTIONS, WRONG_INTERACTIONS)},
)


def test_a_difference_that_fits_one_table_only_is_found(capsys):
    def remembered(m):  # right where the answer is known, wrong where it must be zero
        found = effects(m)[0] - effects(m)[1]
        return found if m.shape[2] == 30 else found + 1

    assert words.check_interaction(remembered) is False
    assert "must give zero" in capsys.readouterr().out
