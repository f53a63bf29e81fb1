"""The skeleton of a lesson: cells, checkers and their test, as text; tools/new_lesson.py fills in the names.

The text tells the author what belongs where. The example in it is small and runs: are a picture and its mirror image
the same to a network? ``@NAME@`` is the lesson's name, such as "counterfactual_maps", ``@NUMBER@`` its number.
"""

HEADER = """\
# @NUMBER@ · Mirroring: is a mirrored picture the same picture to a network?

**Goal.** One sentence that a student can repeat after the lesson: here, to measure how often a network gives another \
answer when a picture is mirrored.

**You will be able to** use verbs here, two to four of them: mirror a batch of pictures, count how often a network \
changes its answer, and tell a mirrored picture from a turned one.

Reading 20 minutes · running 5 s · needs lesson *start_here*"""

QUESTION = """\
## The question comes first

This notebook is a skeleton. It runs, it keeps every rule of the repository, and each of its parts says what belongs \
in its place. Replace the parts from top to bottom and keep their order, because it is the same in all lessons and \
readers know by it where to find things. Delete each piece of advice as soon as you have followed it.

Begin with a real photograph and the real network wherever your method allows it. Ask a question about it that can be \
understood without mathematics, and to which a reader could give a wrong answer. Three or four sentences are enough. \
Say what one would believe wrongly without the method, and leave its history for the further reading.

In our example the question is the following. An object that is seen in a mirror is still the same object, but a \
network has never been told so: it has learnt from pictures, and what was rare in them may be new to it. In the cell \
below we load a network and pictures, import each name where it is used for the first time, and show a picture."""

LOAD = """\
import torch

from helpers import data, plotting
from helpers.models import load_classifier

classifier = load_classifier("efficientnet_lite0")
picture = data.photograph("chelsea").image  # uint8 [300, 451, 3]
mirror_image = picture[:, ::-1].copy()
x = classifier.preprocess([picture, mirror_image])  # [2, 3, 224, 224]
titles = [f"{name}, {share:.0%}" for [(name, share)] in classifier.top(x, 1)]
plotting.grid([picture, mirror_image], titles, columns=2, width=7)"""

PREDICT = """\
**Caption.** A photograph and its mirror image, each with the class that the network ranks first and its probability. \
A caption says what is drawn, what to notice and what the picture does not show. It stands in the cell behind the \
picture and begins with this bold word, because a test looks for it.

One photograph is an example. Before a sentence says "usually", it needs at least a hundred pictures, a control, and \
more than one seed.

> **Predict first.** Ask for a guess before the reader can see the answer, with two to four letters to choose from. \
Each wrong letter should be what a sensible person might think. In our example, we mirror many drawings of objects. \
How often will the network that names them give the same answer as before? (a) Always. (b) Nearly always. (c) Half of \
the time."""

IDEA = """\
## One idea, one equation, a few lines

Say the idea in words, then as an equation, and then in code, so that one recognises the same thing three times. Read \
the equation aloud below it, symbol by symbol, with shapes. Use the letters of the other lessons: $x$ for pictures, \
$y_c$ for the score of class $c$, and $A_k$ for feature maps. In the example, with columns $j$ from $0$ to $w-1$,

$$ \\tilde x_{ij} = x_{i, w-1-j} . $$

In words: the value in row $i$ and column $j$ of the mirrored picture is the value that stood in the same row, as far \
from the other edge. Write the method by hand, with at most 25 lines in a cell and 88 columns \
in a line.<!-- fixed --> The helpers \
come afterwards, since code that only calls them teaches nothing. Give each tensor's shape where it first appears."""

BY_HAND = '''\
def mirrored(pictures):
    """Return pictures [N, C, H, W] with left and right exchanged."""
    columns = torch.arange(pictures.shape[3] - 1, -1, -1)
    return pictures[:, :, :, columns]'''

MEASURE = """\
Computing, counting and drawing go into separate cells, so that each cell holds one idea."""

COUNTED = """\
from helpers.data import shapes

shapes_net = load_classifier("shapes_resnet")
drawn = shapes.one(100, seed=18)
objects = shapes_net.preprocess(drawn.images)  # [100, 3, 128, 128]
with torch.no_grad():
    logits = shapes_net.model(objects)  # [100, 10]
    logits_mirrored = shapes_net.model(mirrored(objects))
same = logits.argmax(1) == logits_mirrored.argmax(1)  # [100]
same.float().mean()"""

CHECK = """\
The answer stays the same for nearly all of the 100<!-- fixed --> pictures. A number that was measured is followed by \
an invisible comment with the expression that gives it and a tolerance, so that a test can compare the text with the \
run; CONTRIBUTING.md shows how it is written. Then `make evidence LESSON=@NAME@` runs the lesson with ten \
other seeds, and the text quotes the median.

<details><summary>Compare with your prediction</summary>

(b). With (a) you assumed that the network must treat both sides alike, but nothing in its layers makes it so. With \
(c) you assumed that a mirrored object is new to it, but it was trained on objects at any angle.
</details>

## The check

A picture alone proves nothing. Each lesson has a number that could have come out otherwise: an identity that holds \
to the last digit, a truth that is known because the course drew the picture, or a comparison with a control that does \
not look at the class. Write it as an `assert`, and say what it would mean if it failed. In the example, mirroring \
twice must give the picture back exactly, and mirroring once must not."""

CHECKED = """\
assert torch.equal(mirrored(mirrored(objects)), objects), "twice should change nothing"
assert not torch.equal(mirrored(objects), objects), "once should change something\""""

FAILURES = """\
Both lines pass without output. Say now what the number means and for which networks and pictures it holds. Then show \
where the method fails, because readers learn more from failures than from successes. Choose them by a number that \
you name, and not because they look good."""

SHOWN = """\
shift = (logits.softmax(1) - logits_mirrored.softmax(1)).abs().amax(1)  # [100]
worst = shift.argsort(descending=True)[:4]
names = shapes.CATEGORIES
pairs = zip(logits[worst].argmax(1), logits_mirrored[worst].argmax(1), strict=True)
titles = [f"{names[before]}, mirrored {names[after]}" for before, after in pairs]
plotting.grid(drawn.images[worst], titles, columns=4, width=8)"""

LIBRARY = """\
**Caption.** The four drawings whose probabilities changed most, as they were drawn, with the network's answer to \
each and to its mirror image. The network may be wrong before, after, or both times.

## At work

Name the library that one would use at work, call it, and show that it agrees with what was written by hand. If the \
course does not install it, look for it first and say in one line how to get it. After this cell the helpers may be \
used instead, here and in later lessons."""

AGREES = """\
import numpy as np
from PIL import Image, ImageOps
from torch.testing import assert_close

images = np.stack([ImageOps.mirror(Image.fromarray(image)) for image in drawn.images])
assert_close(shapes_net.preprocess(images), mirrored(objects), rtol=0, atol=0)"""

LIMITS = """\
## What this does not show

- **One limit a line.** Say what a reader might conclude from the picture and must not, and which lesson goes further.
- **Other pictures.** The course draws its objects at any angle; photographs have a floor and a sky.
- **Reasons.** We know that some answers change, but not which part of the picture changed them; lesson \
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

</details>"""

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
    ("markdown", IDEA),
    ("code", BY_HAND),
    ("markdown", MEASURE),
    ("code", COUNTED),
    ("markdown", CHECK),
    ("code", CHECKED),
    ("markdown", FAILURES),
    ("code", SHOWN),
    ("markdown", LIBRARY),
    ("code", AGREES),
    ("markdown", LIMITS),
    ("code", EXERCISE),
    ("markdown", SOLUTION),
    ("markdown", END),
)

CHECKER = '''\
"""Checker of lesson *@NAME@*: pictures turned by half a turn."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import ask, checker, name_the_mistake


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
    got = ask(function, pictures.clone())  # a function that writes into its input is told so by itself
    by = functools.partial(torch.flip, dims=(2, 3))  # a right function: it shows which other input was used
    name_the_mistake(got, mistakes, by(pictures), what="the turned batch", by=by)
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
    "wrote into `pictures`": in_place,
    "every value of the turned batch is 0": lambda pictures: torch.zeros_like(pictures),
}
(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(@NAME@, "@NAME@", {"half_turn": (RIGHT, WRONG)})
'''
