"""The checker of lesson *transformers* accepts the folded solution, names known mistakes and waits."""

import torch

from answers import answer_tests
from helpers.checks import transformers


def in_place(pictures):
    pictures[:] = pictures.flip(2, 3)
    return pictures


RIGHT = {
    "two quarters": lambda pictures: pictures.rot90(2, (2, 3)),
    "numpy": lambda pictures: pictures.numpy()[:, :, ::-1, ::-1].copy(),
}
WRONG = {
    "nothing has changed": lambda pictures: pictures,
    "left for right": lambda pictures: pictures.flip(3),
    "upside down": lambda pictures: pictures.flip(2),
    "a quarter of a turn": lambda pictures: pictures.rot90(1, (2, 3)),
    "changed places": lambda pictures: pictures.transpose(2, 3),
    "the colours": lambda pictures: pictures.flip(1, 2, 3),
    "the batch": lambda pictures: pictures.flip(0, 2, 3),
    "you were given have changed": in_place,
    "off by": lambda pictures: torch.zeros_like(pictures),
}
(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(transformers, "transformers", {"half_turn": (RIGHT, WRONG)})
