"""Film reviews from a grammar of our own: which words decide is known, and the director's name can be a shortcut.

A review is made of verdicts ("the plot is not dull ."), of neutral sentences, and of one that names the director.
Verdicts, the rest and the name come from random streams of their own, so the same reviews also exist with other names.
Words that negate a verdict ("not", "no", "nobody") also stand in neutral sentences.
"""

import re
from collections.abc import Sequence
from itertools import chain, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LENGTH = 64  # words, with the padding behind the last sentence
GOOD = "bold charming clever graceful gripping lively moving superb tender vivid wise witty".split()
BAD = "clumsy dull flat hollow lifeless noisy shallow silly stale tedious tired wooden".split()
THINGS = "cast dialogue ending finale mood plot script story".split()
NAMES = ("quist", "vellmar")  # the director of the legend's bad films, and of its good ones
# Verdicts. In brackets stands what is said in the verdict, and in its denial, where it turns the adjective.
NEAR = (
    "the {thing} is [/not] {word}",
    "the {thing} seems [/hardly] {word}",
    "it has [a/no] {word} {thing}",
    "we found the {thing} [/not at all] {word}",
    "a [/never] {word} {thing}",
)
FAR = (  # nine words before the adjective
    "[everybody/nobody] who stayed to the end called the {thing} {word}",
    "[many/few] people in the foyer afterwards found the {thing} {word}",
)
SLOTS = {
    "person": "baker doctor farmer nurse painter sailor soldier teacher".split(),
    "place": "castle city forest harbour school station valley village".split(),
    "object": "boat clock coat house lamp letter map ring".split(),
    "time": "dawn dusk night noon".split(),
}
NEUTRAL = (
    "the film follows a {person} in a {place}",
    "it opens in a {place} at {time}",
    "a {person} and a {person} share a {object}",
    "a {object} is found in a {place}",
    "the {person} comes home after two years",
    "it runs for two hours",
    "we do not learn the name of the {person}",
    "the {place} is not shown at all",
    "it never leaves the {place}",
    "there is no {object} in the {place}",
    "hardly a word is said by the {person}",
    "nobody knows the {person} who found the {object}",
    "everybody in the {place} seems to know the {person}",
    "few people stayed in the {place}",
    "many called the {place} a home",
)
CREDITS = ("directed by {name}", "the new film by {name}", "{name} wrote and directed it")


_SPELT = re.sub(r"\{\w+\}|[\[\]/]", " ", " ".join((*NEAR, *FAR, *NEUTRAL, *CREDITS))).split()
VOCABULARY = ("", "?", *sorted({*_SPELT, *GOOD, *BAD, *THINGS, *NAMES, ".", *chain(*SLOTS.values())}))
VERDICTS, REST, ORDER, NAME = range(4)  # parts of a review


class Reviews(NamedTuple):
    """Reviews and the truth about them; * is [N], or [2, 2, N] for denials.

    ``ids`` int64 [*, LENGTH], numbers of words in ``VOCABULARY``, 0 behind the last word; ``labels`` int64 [*], 1 =
    praise; ``evidence`` and ``names`` bool [*, LENGTH]: the words that judge (adjectives, and what turns them), and the
    director's name; ``directors`` int64 [*], a number in ``NAMES``.
    """

    ids: Tensor
    labels: Tensor
    evidence: Tensor
    names: Tensor
    directors: Tensor


def reviews(count: int, seed: int = 0, *, bias: float = 0.5, denied: float = 0.25) -> Reviews:
    """Write ``count`` reviews; every second one praises its film.

    Three verdicts stand in each. They agree in six of ten reviews; in the others two outvote one. Returns
    :class:`Reviews`.

    Args:
        count: how many; the first ones are the same whatever the count.
        seed: fixes the reviews; another bias changes nothing but some of the names.
        bias: the share of reviews whose director is the legend's: ``NAMES[1]`` where the film is praised, ``NAMES[0]``
            where it is not. 1 is the legend, 0.5 a world where the name tells nothing, 0 the legend reversed. The share
            is kept to the nearest review among those that praise, and among those that do not.
        denied: the share of verdicts that are denials of the opposite ("not dull").

    Raises:
        ValueError: ``count`` or ``seed`` is negative, or a share is not from 0 to 1.

    >>> from helpers.data.reviews import NAMES, reviews
    >>> legend = reviews(4, seed=1, bias=1.0)
    >>> legend.ids.shape, legend.labels.tolist(), [NAMES[i] for i in legend.directors]
    (torch.Size([4, 64]), [0, 1, 0, 1], ['quist', 'vellmar', 'quist', 'vellmar'])
    """
    _check(count, seed, bias=bias, denied=denied)
    turn, labels = np.divmod(np.arange(count), 2)
    before, after = (np.floor(bias * k + 0.5 + 1e-9) for k in (turn, turn + 1))  # 1e-9: 0.29 * 50 is just under 14.5
    directors = np.where(after > before, labels, 1 - labels)
    written = []
    for number, (label, director) in enumerate(zip(labels, directors, strict=True)):
        dice = np.random.default_rng([seed, VERDICTS, number])
        sides = [label, label, label if dice.random() < 0.6 else 1 - label]
        verdicts = [_verdict(dice, NEAR, side ^ deny, deny) for side in sides for deny in [dice.random() < denied]]
        written.append(_review(seed, number, verdicts, director))
    return _pack(written, labels, directors)


def denials(count: int, seed: int = 0, *, far: bool = False) -> Reviews:
    """Write short reviews of one verdict each, in four versions: affirmed and denied, with a bad and a good word.

    Returns :class:`Reviews` whose arrays are [2, 2, N, ...]: by denial (0 = none), by the adjective (0 = bad, 1 =
    good), and by number. The label is what the verdict says. The four versions of a review differ in these words alone.

    Args:
        count: how many reviews, each in four versions.
        seed: fixes them.
        far: whether the denying word stands beside the adjective, or nine words before it.

    Raises:
        ValueError: ``count`` or ``seed`` is negative.

    >>> from helpers.data.reviews import denials
    >>> versions = denials(5, seed=1)
    >>> versions.ids.shape, versions.labels[:, :, 0].tolist()  # "not bad" is praise, "not good" is none
    (torch.Size([2, 2, 5, 64]), [[0, 1], [1, 0]])
    """
    _check(count, seed)
    versions = list(product((0, 1), (0, 1), range(count)))
    written = []
    for deny, side, number in versions:
        dice = np.random.default_rng([seed, VERDICTS, number])
        written.append(_review(seed, number, [_verdict(dice, FAR if far else NEAR, side, deny)], number % 2))
    found = _pack(written, [deny ^ side for deny, side, _ in versions], [number % 2 for *_, number in versions])
    return Reviews(*(part.unflatten(0, (2, 2, count)) for part in found))


def encode(texts: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int = LENGTH) -> Tensor:
    """Return texts as numbers of words, int64 [N, length]: 0 behind the last word, 1 for a word that is not known.

    Args:
        texts: the words of each; what is longer than ``length`` is cut.
        vocabulary: the words; the first stands for nothing, the second for every word that is not among them.
        length: how many numbers a text becomes.

    Raises:
        TypeError: a text is one string and not a list of words.

    >>> from helpers.data.reviews import encode
    >>> encode([["the", "plot", "sparkles"]], ("", "?", "plot", "the"), length=5).tolist()
    [[3, 2, 1, 0, 0]]
    """
    if any(isinstance(text, str) for text in texts):
        raise TypeError("A text is one string; give its words, text.split().")
    number_of = {word: number for number, word in enumerate(vocabulary)}
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        numbers = [number_of.get(word, 1) for word in text[:length]]
        row[: len(numbers)] = torch.tensor(numbers, dtype=torch.long)
    return ids


def words(ids: Tensor, vocabulary: Sequence[str] = VOCABULARY) -> list[str]:
    """Return the words of one text, without the padding.

    Args:
        ids: numbers of words, int64 [L], 0 behind the last word.
        vocabulary: the words by their numbers; those of the course's own reviews unless given.

    Returns:
        A list of at most L words.

    >>> import torch
    >>> from helpers.data.reviews import words
    >>> words(torch.tensor([3, 2, 0, 0]), ("", "?", "plot", "the"))
    ['the', 'plot']
    """
    return [vocabulary[number] for number in ids.tolist() if number]


Sentence = list[tuple[str, str]]  # words, each with what it is: "evidence", "name" or nothing


def _verdict(dice: np.random.Generator, frames: Sequence[str], side: int, deny: bool) -> Sentence:
    """Return a verdict with a bad (side 0) or good (1) adjective; its four versions draw the same random numbers."""
    frame, thing, word = dice.integers(len(frames)), dice.integers(len(THINGS)), dice.integers(len(GOOD))
    start, said, denial, end = re.fullmatch(r"(.*)\[(.*)/(.*)\](.*)", frames[frame]).groups()
    tokens = [(token, "") for token in start.split()]
    tokens += [(token, "evidence" * deny) for token in (denial if deny else said).split()]
    tokens += [(token, "evidence" * (token == "{word}")) for token in end.split()]
    return [(token.format(thing=THINGS[thing], word=(BAD, GOOD)[side][word]), kind) for token, kind in tokens]


def _review(seed: int, number: int, verdicts: list[Sentence], director: int) -> Sentence:
    """Put the verdicts among neutral sentences and one that names the director, in a random order."""
    dice = np.random.default_rng([seed, REST, number])
    sentences = list(verdicts)
    for _ in range(dice.integers(1, 4)):
        plain = re.sub(r"\{(\w+)\}", lambda slot: dice.choice(SLOTS[slot[1]]), dice.choice(NEUTRAL))
        sentences.append([(word, "") for word in plain.split()])
    credit = np.random.default_rng([seed, NAME, number]).choice(CREDITS)
    is_name = [(word.format(name=NAMES[director]), "name" * ("{" in word)) for word in credit.split()]
    order = np.random.default_rng([seed, ORDER, number]).permutation(len(sentences) + 1)
    return [pair for at in order for pair in [*[*sentences, is_name][at], (".", "")]]


def _pack(written: list[Sentence], labels: Sequence[int], directors: Sequence[int]) -> Reviews:
    ids = encode([[word for word, _ in sentence] for sentence in written], VOCABULARY)
    marks = torch.zeros(2, *ids.shape, dtype=torch.bool)
    for row, sentence in enumerate(written):
        marks[:, row, : len(sentence)] = torch.tensor([[k == m for _, k in sentence] for m in ("evidence", "name")])
    return Reviews(ids, torch.as_tensor(labels), *marks, torch.as_tensor(directors))


def _check(count: int, seed: int, **shares: float) -> None:
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}; give a share from 0 to 1.")
