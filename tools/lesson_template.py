"""The skeleton of a lesson: cells, checkers and their test, as text; tools/new_lesson.py fills in the names.

The text tells the author what belongs where. The example in it is small and runs: are a picture and its mirror image
the same to a network? ``@NAME@`` is the lesson's name, such as "lime_and_shap", ``@NUMBER@`` its number.
"""

HEADER = """\
# @NUMBER@ · Is a mirrored picture the same picture?

**Goal.** One sentence that a student can repeat after the lesson: here, to measure whether a net cares for left and \
right.

**You will be able to** use verbs here, two to four of them; mirror a batch of pictures; count how often a net \
changes its mind; tell a mirrored picture from a turned one.

Reading 20 minutes · running 5 s · needs lesson *start_here*"""

QUESTION = """\
## The question comes first

This notebook is a skeleton. It runs, it passes every rule of the repository, and each of its parts says what \
belongs in its place. Replace the parts from top to bottom, and keep the order: it is the same in all lessons, so \
that a reader knows where to find things. Delete each piece of advice as soon as you have followed it.

Begin with something that can be asked without any mathematics, and of which a reader could get the answer wrong. \
Three or four sentences are enough. Say what is at stake: what would we believe wrongly if we never asked? Leave the \
history of the method for later, and its name too, if you can; a name explains nothing to those who hear it for the \
first time.

Our example: an object seen in a mirror is still the same object. A net was never told so. It has learnt from \
pictures, and what was rare in them may be strange to it. Load the net and the pictures in the first cell below, \
each import where it is used for the first time, and show one picture early."""

LOAD = """\
import torch

from helpers import plotting
from helpers.data import shapes
from helpers.models import load_classifier

net, names = load_classifier("shapes_resnet").model, shapes.CATEGORIES
test = shapes.one(100, seed=18)
x, labels = shapes.preprocess(test.images), torch.from_numpy(test.labels)  # [100, 3, 128, 128], [100]
titles = [names[label] for label in test.labels[:4]]
plotting.grid(test.images[:4], titles, columns=4, width=7)"""

PREDICT = """\
**Caption.** Four of the pictures, each with the name of its object. A caption says what is to be seen, what the \
colours mean, and what must not be read into the picture. It stands in the cell right after the picture, and it \
begins with this bold word, because a test looks for it.

> **Predict first.** Ask for a guess before the reader can see the answer, with two to four letters to choose from. \
Every wrong letter should be what a sensible person might think. For our example: we mirror all pictures, left for \
right. How often will the net give the same answer as before? (a) Always: nothing about the object has changed. (b) \
Nearly always. (c) In half of the pictures."""

GUESS = 'guess = "?"'

IDEA = """\
## One idea, one equation, a few lines

Give the idea in words, then as an equation, then as code; the three should be recognisable as the same thing. Read \
the equation aloud below it, from the place where a reader should start. Use letters that other lessons use: $x$ for \
pictures, $y_c$ for the score of class $c$, $A_k$ for feature maps. For the example, with columns $j$ from $0$ to \
$w-1$,

$$ \\tilde x_{ij} = x_{i, w-1-j} . $$

Read it from the left: what stands in the mirror in column $j$ stood before in the column that is as far from the \
other edge. Write the method by hand, in at most 25 lines a cell. The helpers come afterwards; code that only calls \
them teaches nothing. Give each tensor's shape in a comment where it is born."""

BY_HAND = '''\
def mirrored(pictures):
    """Return pictures [N, C, H, W] with left and right exchanged."""
    columns = torch.arange(pictures.shape[3] - 1, -1, -1)
    return pictures[:, :, :, columns]


with torch.no_grad():
    logits, logits_mirrored = net(x), net(mirrored(x))  # [100, 10] each
answers, answers_mirrored = logits.argmax(1), logits_mirrored.argmax(1)
same = answers == answers_mirrored
print(f"The same answer for {same.sum()} of {len(same)} pictures.")'''

CHECK = """\
## The check

A picture alone proves nothing. Each lesson has a number that could have come out otherwise: an identity that holds \
to the last digit, a truth that is known because the course drew the picture, or a comparison with a player who does \
not look. Write it as an `assert`, with the reason for the message, and say in the text what it would mean if it \
failed.

Mirroring twice must give the picture back, exactly, and mirroring once must not. Numbers that the text quotes are \
bound to the run by `claim`: it prints both, and stops the notebook when they differ by more than you allow. A test \
looks for every percentage, and for every number after a word such as "roughly", among the claims."""

CHECKED = """\
from helpers.checks import claim, guesses, predict

assert torch.equal(mirrored(mirrored(x)), x), "mirroring twice should change nothing"
assert not torch.equal(mirrored(x), x), "mirroring once should change something"
claim("the same answer after mirroring, %", 100 * same.float().mean(), 97, 2)
predict(
    guess,
    "b",
    {
        "a": "The object has not changed, but the net was not told which changes do not count.",
        "b": "It learnt from objects at any angle, which makes most mirrored ones familiar; nothing makes it exact.",
        "c": "That would be a net for which left and right are two different worlds.",
    },
)"""

FAILURES = """\
The net keeps its answer in 97 % of the pictures. Say now what the number means, and for whom it holds: these nets, \
these pictures, this many of them. Then go where the method fails; readers learn more from the failures than from \
the rest. Show those with the least agreement, not those that look best, and say by which number you chose them."""

SHOWN = """\
shift = (logits.softmax(1) - logits_mirrored.softmax(1)).abs().amax(1)
worst = shift.argsort(descending=True)[:4]
before = [names[c] for c in answers[worst]]
after = [names[c] for c in answers_mirrored[worst]]
titles = [f"{b}, mirrored {a}" for b, a in zip(before, after, strict=True)]
assert shift[worst[0]] > shift.mean(), "the worst picture should be worse than the mean"
plotting.grid(test.images[worst], titles, columns=4, width=8)"""

LIBRARY = """\
**Caption.** The pictures whose probabilities moved most, worst first, as they were drawn, with the net's answer to \
each and to its mirror image. The net may be wrong before, after, or both times.

## At work

Name the library that one would use at work, call it, and show that it agrees with what was written by hand. If it \
is a package that the course does not need, look for it first, and say in one line how to get it. After this cell \
the helpers may be used, here and in later lessons."""

AGREES = """\
import numpy as np
from PIL import Image, ImageOps
from torch.testing import assert_close

images = np.stack([ImageOps.mirror(Image.fromarray(image)) for image in test.images])
assert_close(shapes.preprocess(images), mirrored(x), rtol=0, atol=0)
print("Pillow's mirror agrees, to the last digit.")"""

LIMITS = """\
## What this does not show

- **One limit a line.** Say what a reader might conclude from the picture and must not, and which lesson goes further.
- **Other pictures.** The course draws its objects at any angle; photographs have a floor and a sky.
- **Reasons.** We know that some answers change, not which part of the picture changed them; lesson \
*occlusion* covers parts.

## Your turn

**1.** One or two exercises, each a function whose shapes are given in the text, blank in the cell, and checked in \
place. The checker lies in `helpers/checks/@NAME@.py`. It accepts any right way, names at least three \
likely mistakes, and waits quietly for an answer; `tests/test_checks_@NAME@.py` proves it. For the example: turn \
pictures [N, C, H, W] by half a turn."""

EXERCISE = '''\
from helpers.checks import @NAME@


def half_turn(pictures):
    """Return pictures [N, C, H, W] turned by half a turn."""
    ...  # your code here


@NAME@.check_half_turn(half_turn)'''

SOLUTION = """\
<details><summary>Hint 1</summary>

What happens to the rows, and what to the columns?
</details>
<details><summary>Hint 2</summary>

Both change their order; `Tensor.flip` takes several dimensions.
</details>

<details><summary>Solution</summary>

The first row becomes the last one, and the first column, too.

```python
def half_turn(pictures):
    return pictures.flip(2, 3)
```

</details>

Your guess, and what came out:"""

END = """\
## Questions

Three or four of them, with folded answers that explain each wrong choice.

<details><summary>1. What is mirrored twice? (a) Turned by half a turn. (b) As it was. (c) Mirrored.</summary>

**(b).** The columns change places and change back. (a) needs rows and columns. (c) is what an odd number of times \
gives.

</details>

<details><summary>2. A net keeps its answer for each of ten mirrored pictures. What do we know? (a) That it cannot \
tell left from right. (b) That it did not matter for these ten. (c) That it was trained on mirrored \
pictures.</summary>

**(b).** (a) Its scores may have moved without a change of the answer. (c) Drawing objects at any angle does as well.

</details>

## Recap

- The idea in one line, with its number.
- Where it fails, in one line.

## Further reading

- Authors (year): *Title*. Journal or conference, arXiv number. The paper that the method is from, and one that \
doubts it.

**Next.** Say which question this lesson leaves open, and which lesson takes it up; \
[lesson *start_here*](00_start_here.ipynb) has the map."""

CELLS = (
    ("markdown", QUESTION),
    ("code", LOAD),
    ("markdown", PREDICT),
    ("code", GUESS),
    ("markdown", IDEA),
    ("code", BY_HAND),
    ("markdown", CHECK),
    ("code", CHECKED),
    ("markdown", FAILURES),
    ("code", SHOWN),
    ("markdown", LIBRARY),
    ("code", AGREES),
    ("markdown", LIMITS),
    ("code", EXERCISE),
    ("markdown", SOLUTION),
    ("code", "guesses()"),
    ("markdown", END),
)

CHECKER = '''\
"""Checker of lesson *@NAME@*: pictures turned by half a turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_half_turn(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(pictures [N, C, H, W]) -> [N, C, H, W]`` on random pictures that are not square."""
    pictures = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mistakes = {
        "nothing has changed.": pictures,
        "this is mirrored, left for right; the rows stay where they were.": pictures.flip(3),
        "this is upside down; the columns stay where they were.": pictures.flip(2),
        "this is a quarter of a turn.": lambda: pictures.rot90(1, (2, 3)),
        "rows and columns have changed places.": lambda: pictures.transpose(2, 3),
        "the colours are turned, too; leave the channels in their order.": pictures.flip(1, 2, 3),
        "the batch is turned, too; leave the pictures in their order.": pictures.flip(0, 2, 3),
    }
    given = pictures.clone()
    name_the_mistake(ask(function, given), mistakes, pictures.flip(2, 3), what="the turned batch")
    if not torch.equal(given, pictures):
        raise Wrong("the values are right, but the pictures that you were given have changed; return new ones.")
    return "half a turn, for pictures of any shape."
'''

TEST = '''\
"""The checker of lesson *@NAME@* accepts the folded solution, names known mistakes and waits."""

import torch

from answers import answer_tests
from helpers.checks import @NAME@


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
) = answer_tests(@NAME@, "@NAME@", {"half_turn": (RIGHT, WRONG)})
'''
