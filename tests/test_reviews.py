"""The reviews of lesson *words*: the label follows from the words that are marked, and nothing else tells it."""

import re
from collections import Counter

import pytest
import torch

from helpers.data import reviews
from helpers.data.reviews import BAD, GOOD, LENGTH, NAMES, VOCABULARY, denials, encode, words
from helpers.data.reviews import reviews as write

TURN = {"not", "hardly", "no", "never", "nobody", "few"}
SEEN = write(400, 3)


def marked(ids, mask):
    return [VOCABULARY[number] for number in ids[mask].tolist()]


def verdict_of(evidence):
    """Count praise less blame in the marked words of a review, read from left to right."""
    total, turned = 0, False
    for word in evidence:
        if word in GOOD or word in BAD:
            total += (1 if word in GOOD else -1) * (-1 if turned else 1)
            turned = False
        elif word in TURN:
            turned = True
    return total


def test_shapes_and_kinds():
    assert SEEN.ids.shape == SEEN.evidence.shape == SEEN.names.shape == (400, LENGTH)
    assert SEEN.ids.dtype == SEEN.labels.dtype == SEEN.directors.dtype == torch.int64
    assert SEEN.evidence.dtype == SEEN.names.dtype == torch.bool
    assert SEEN.labels.tolist() == [0, 1] * 200
    assert write(0).ids.shape == (0, LENGTH) and denials(0).evidence.shape == (2, 2, 0, LENGTH)


def test_the_marked_words_give_the_label():
    for ids, label, evidence in zip(SEEN.ids, SEEN.labels, SEEN.evidence, strict=True):
        total = verdict_of(marked(ids, evidence))
        assert total in (-3, -1, 1, 3) and (total > 0) == (label == 1), words(ids)


def test_every_adjective_is_marked_and_turning_words_also_stand_where_they_turn_nothing():
    judging = torch.tensor([VOCABULARY.index(word) for word in (*GOOD, *BAD)])
    assert (torch.isin(SEEN.ids, judging) <= SEEN.evidence).all()
    free = Counter(word for ids, mark in zip(SEEN.ids, SEEN.evidence, strict=True) for word in marked(ids, ~mark))
    assert all(free[word] > 5 for word in TURN | {"at", "all", "everybody", "many"})


def test_one_name_stands_in_each_and_is_marked():
    for ids, names, director in zip(SEEN.ids, SEEN.names, SEEN.directors, strict=True):
        assert marked(ids, names) == [NAMES[director]]
        assert not set(marked(ids, ~names)) & set(NAMES)


@pytest.mark.parametrize("bias", [0, 0.29, 0.5, 0.9, 1])
def test_the_bias_is_kept_for_each_label(bias):
    found = write(200, 5, bias=bias)
    for label in (0, 1):
        agree = (found.directors == label)[found.labels == label].double().mean()
        assert agree == pytest.approx(bias, abs=0.005 + 1e-9)


def test_another_bias_changes_names_and_nothing_else():
    legend, other = write(100, 5, bias=1), write(100, 5, bias=0)
    assert (legend.directors != other.directors).all()
    assert torch.equal(legend.evidence, other.evidence) and torch.equal(legend.names, other.names)
    assert torch.equal(legend.ids[~legend.names], other.ids[~other.names])
    assert (legend.ids[legend.names] != other.ids[other.names]).all()


def test_the_first_ones_do_not_depend_on_the_count_and_the_seed_decides():
    few = write(30, 3)
    assert all(torch.equal(a, b[:30]) for a, b in zip(few, SEEN, strict=True))
    assert not torch.equal(write(30, 4).ids, few.ids)


def test_the_share_of_denials():
    none, all_ = write(200, 6, denied=0), write(200, 6, denied=1)
    turning = torch.tensor([VOCABULARY.index(word) for word in TURN])
    assert not (torch.isin(none.ids, turning) & none.evidence).any()
    assert ((torch.isin(all_.ids, turning) & all_.evidence).sum(1) == 3).all()


def test_nothing_but_the_verdicts_tells_the_label():
    many = write(4000, 7)
    ids = many.ids.masked_fill(many.evidence, 0)
    praised, blamed = (torch.bincount(ids[many.labels == k].flatten(), minlength=len(VOCABULARY)) for k in (1, 0))
    total = (praised + blamed)[1:].double()
    odds = ((praised - blamed)[1:].double() / total.sqrt())[total > 0]  # standard deviations from an even split
    assert odds.abs().max() < 4.5


@pytest.mark.parametrize("far", [False, True])
def test_four_versions_of_a_verdict(far):
    found = denials(60, 8, far=far)
    assert found.ids.shape == (2, 2, 60, LENGTH) and found.labels.shape == found.directors.shape == (2, 2, 60)
    assert (found.labels[0, 0] == 0).all() and (found.labels[0, 1] == 1).all()
    assert (found.labels[1] == 1 - found.labels[0]).all()
    for deny in (0, 1):
        bad, good = found.ids[deny]
        assert ((bad != good).sum(1) == 1).all() and ((bad != good) <= found.evidence[deny, 0]).all()
    for version, label in (
        (found.ids[i, j, n], found.labels[i, j, n]) for i in (0, 1) for j in (0, 1) for n in range(60)
    ):
        here = [word for word in words(version) if word in GOOD or word in BAD]
        assert len(here) == 1 and label in (0, 1)
    for n in range(60):
        evidence = marked(found.ids[1, 0, n], found.evidence[1, 0, n])
        assert (verdict_of(evidence) > 0) == (found.labels[1, 0, n] == 1)
        places = found.evidence[1, 0, n].nonzero()[:, 0]
        apart = places[-1] - places[0]
        assert apart == 9 if far else apart <= 3
    rest = [
        [re.sub("|".join(NAMES), "", " ".join(marked(found.ids[i, j, n], ~found.evidence[i, j, n]))) for n in range(60)]
        for i in (0, 1)
        for j in (0, 1)
    ]
    assert rest[0] == rest[1] and rest[2] == rest[3]


def test_texts_become_numbers_and_back():
    text = "the plot is not dull .".split()
    ids = encode([text, text[:2], []], VOCABULARY)
    assert ids.shape == (3, LENGTH) and ids.dtype == torch.int64 and (ids[1, 2:] == 0).all() and not ids[2].any()
    assert words(ids[0]) == text
    assert encode([["the", "zebra"]], VOCABULARY, 4).tolist() == [[VOCABULARY.index("the"), 1, 0, 0]]
    assert encode([text], VOCABULARY, 2).shape == (1, 2)
    assert encode([["b", "c"]], ["", "?", "b"], 3).tolist() == [[2, 1, 0]] and words(ids[2]) == []


def test_the_vocabulary_names_each_word_once_and_the_longest_review_fits():
    assert VOCABULARY[:2] == ("", "?") and len(set(VOCABULARY)) == len(VOCABULARY)
    assert not {"{word}", "[", "/", "nobody/", "a/no"} & set(VOCABULARY)
    longest = [
        max(len(re.sub(r"\[.*/(.*)\]", r"\1", t).split()) for t in group) + 1
        for group in (reviews.NEAR, reviews.NEUTRAL)
    ]
    assert 3 * longest[0] + 3 * longest[1] + 1 + max(len(t.split()) for t in reviews.CREDITS) <= LENGTH
    assert len(GOOD) == len(BAD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "0 or more"),
        ({"count": 1, "seed": -1}, "0 or more"),
        ({"count": 1, "bias": 1.5}, "bias is 1.5; give a share"),
        ({"count": 1, "denied": -0.1}, "denied is -0.1; give a share"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        write(**options)


def test_a_text_that_is_one_string_is_refused():
    with pytest.raises(TypeError, match=r"text\.split"):
        encode(["the plot"], VOCABULARY)
    with pytest.raises(ValueError, match="0 or more"):
        denials(-1)
