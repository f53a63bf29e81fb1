"""The cells of an exam and of its key, with names in braces for what the seed decides; see ``make_exam.py``."""

from grading.bank import LEVELS, Question
from grading.exam import CHECKS

START = [
    """# Exam: {questions} questions on {count} pictures

**How it works.** Where you see `...  # your code here`, an answer is missing. `form(...)` says whether your answers
have the form that is asked for, and nothing more. Two or more answers are texts: write two to six sentences between
the triple quotes, in place of the three dots; a person reads them. Hand in this notebook; it has to run from top to
bottom, offline, next to `exam.safetensors`. What you may use besides, your instructor says.

<!-- BEGIN SOLUTION -->
**This is the key**, for the instructor. The exam's seed stands in `seed.txt` beside it; both are for you alone. This
grades a folder of answers: `make grade IN='my class' ARGS='--exam FILE'`, where FILE is that `seed.txt`.

A text is graded by its rubric, from level 0 to level 3. Grading copies the texts into the table, beside an empty
column for the level. If an answer fits no level exactly, give the highest one of which it says everything.
<!-- END SOLUTION -->""",
    "{first}",
    """import torch
from safetensors.torch import load_file

from helpers import attribution, evaluation, plotting
from helpers.data import shapes
from helpers.models import ShapesResNet, load_classifier

data = load_file("exam.safetensors")
if data["number"] != {number}:
    raise ValueError("This exam.safetensors belongs to another exam.")
exam = data


def net(letter):
    \"\"\"Return net A or net B of this exam.\"\"\"
    model = ShapesResNet()
    own = {{name[2:]: exam[name] for name in exam if name.startswith(letter + ".")}}
    model.load_state_dict(own)
    return model.eval().requires_grad_(False)""",
    "{forms}",
    """def form(**answers):
    \"\"\"Say whether answers have the form that is asked for, and not whether they are right.\"\"\"
    for name, answer in answers.items():
        asked = FORMS[name]
        if answer is ... or isinstance(answer, str) and not answer.strip(" .\\n"):
            said = "not answered yet"
        elif asked is str:
            said = f"{{len(str(answer).split())}} words"
        elif isinstance(asked, list):
            right = isinstance(answer, type(asked[0])) and answer in asked
            said = "the form is right" if right else f"one of {{asked}} is asked for"
        else:
            found = torch.as_tensor(answer).shape
            wrong = f"{{list(found)}}, not {{list(asked)}}"
            said = "the form is right" if found == asked else wrong
        print(f"{{name}}: {{said}}.")


x, x_marked = (shapes.preprocess(exam[name].numpy()) for name in ("pictures", "marked"))
classes = exam["classes"]  # of the objects; the other object of a picture is its distractor
titles = [f"{{i}}: {{shapes.CATEGORIES[c]}}" for i, c in enumerate(classes)]
plotting.grid([*exam["pictures"], *exam["marked"]], titles * 2, columns={count}, width=10)""",
    """**Caption.** Your pictures, numbered from 0, with the class of the object. Below: the same pictures with a
label in a corner, on which the number of a wrong class is printed. `exam` also holds the masks `objects` and
`watermarks`, bool [{count}, 128, 128].""",
]

QUESTIONS = {}
QUESTIONS["q1"] = [
    """## Question {number_of[q1]}: where is the evidence?

Take the course's net `shapes_resnet`, and of `x` picture {picture}. Compute the class activation map at `layer4` for
the class {category} (*{category_name}*), in its own size, 8 x 8, without a ReLU. **Answers:** `peak`, row and column
of its highest value, both counted from 0, and `value`, this value, to 1 %.

<!-- BEGIN SOLUTION -->
**Answer.** `peak` is {peak}, `value` is {value:.2f}. Working: the map is the sum of the 128 maps of `layer4`, each
times its weight for class {category}. The class is that of the distractor: who takes the net's own answer finds
another peak.
<!-- END SOLUTION -->""",
    """peak, value = ..., ...
### BEGIN SOLUTION
resnet, kept = load_classifier("shapes_resnet").model, []
with resnet.layer4.register_forward_hook(lambda layer, inputs, output: kept.append(output)):
    resnet(x[[{picture}]])
heat = torch.einsum("k,kij->ij", resnet.fc.weight[{category}], kept[0][0])
peak, value = divmod(heat.argmax().item(), 8), heat.max().item()
### END SOLUTION
form(peak=peak, value=value)""",
]

QUESTIONS["q2"] = [
    """## Question {number_of[q2]}: which net fell for the label?

One of the nets `net("A")` and `net("B")` reads the label in the corner instead of the object. For each net and each
picture of `x_marked`: compute the class activation map at `layer4` for the net's *own* answer, enlarge it to 128 x
128 with `attribution.upsample`, and take the share of its positive part that lies on the mask in `watermarks`.
**Answers:** `on_watermark`, these shares, [2, {count}], net A first, and `fell`, "A" or "B".

<!-- BEGIN SOLUTION -->
**Answer.** Net {fell} fell. On average {on_A:.3f} of A's map and {on_B:.3f} of B's lie on the label; it covers
{covered:.3f} of a picture, which is what a map of no opinion has there. One place of the 8 x 8 is as large as the
label, and enlarging blurs it: so even a map that means nothing but the label has most of its sum around it.
<!-- END SOLUTION -->""",
    """on_watermark, fell = ..., ...
### BEGIN SOLUTION
small = [attribution.cam(net(letter), x_marked, layer="layer4") for letter in "AB"]
maps = [attribution.upsample(one, (128, 128)).relu() for one in small]
on_watermark = torch.stack([(m * exam["watermarks"]).sum((1, 2)) / m.sum((1, 2)) for m in maps])
fell = "AB"[on_watermark.mean(1).argmax()]
below = torch.cat([exam["marked"]] * 2)
display(plotting.grid(torch.cat(maps), over=below, columns={count}, row_labels=["A", "B"]))
### END SOLUTION
form(fell=fell, on_watermark=on_watermark)""",
]

QUESTIONS["q3"] = [
    """## Question {number_of[q3]}: how good is a map?

Take the course's net `shapes_vgg`, the pictures `x`, and `attribution.{method}` at `{layer}`, without a ReLU
(`relu=False`), for the classes in `classes`, enlarged to 128 x 128. **Answers:** `on_object`, the share of each map's
positive part that lies on the mask in `objects`, [{count}]; `deleted`, the area under each deletion curve of the
logit, {steps} steps, with 0 as the baseline, [{count}].

<!-- BEGIN SOLUTION -->
**Answer.** `on_object` is {on_object}; `deleted` is {deleted}.
Working: `evaluation` has both grades. Negative values count as zero for the first one, only *after* enlarging; the
second takes them as they are.
<!-- END SOLUTION -->""",
    """on_object, deleted = ..., ...
### BEGIN SOLUTION
vgg = load_classifier("shapes_vgg").model
small = attribution.{method}(vgg, x, classes, layer="{layer}", relu=False)
large = attribution.upsample(small, (128, 128))
on_object = evaluation.mass_accuracy(large, exam["objects"])
deleted = evaluation.area(*evaluation.deletion(vgg, x, large, classes, steps={steps}))
display(plotting.grid(large, over=exam["pictures"], columns={count}))
### END SOLUTION
form(on_object=on_object, deleted=deleted)""",
    """**What the network says.** `shapes_vgg` names only some of these pictures rightly: on the others its largest
logit is not that of the class in `classes`, for which you made the maps. **Answers:** `named`, bool [{count}], whether
the largest logit is that of `classes`; and a text, `meaning`: what do the maps of the pictures with a wrong answer
show, and what do they not show? May `on_object` and `deleted` be averaged over all {count} pictures, and what would
you report?

<!-- BEGIN SOLUTION -->
**Answer.** `named` is {named}: {right_count} of {count}. A map for the class in `classes` shows where the logit of
that class gets its evidence. It is defined for every class, and it may lie on the object although another class
wins. So it does not explain a wrong answer: for this, take the map of the class that won, or of the difference of
both logits.

What the text says on each level:

- **Level 3.** All of level 2, and what to report: the two groups apart, or {right_count} of {count} beside the
  mean; and that {count} pictures are too few to compare groups.
- **Level 2.** On wrong pictures the map explains the logit of a class that did not win. A high `on_object` there
  does not mean that the network recognised the object; the answer itself needs the map of the class that won.
- **Level 1.** Says that {wrong_count} of {count} answers are wrong and the maps are to be read with care, but not
  which class they explain; or calls these maps wrong or useless because the answer is wrong.
- **Level 0.** No text; or takes a map on the object for a right answer; or does not mention that answers are wrong.
<!-- END SOLUTION -->""",
    """named = ...
meaning = \"\"\"...\"\"\"
### BEGIN SOLUTION
with torch.no_grad():
    named = load_classifier("shapes_vgg").model(x).argmax(1) == classes
meaning = \"\"\"The network names {right_count} of {count} pictures rightly. On the other ones the maps show
where the logit of the object's class gets its evidence, although another class won.
So a large on_object there does not mean that the network recognised the object, and
these maps do not explain its answers: that needs the maps of the classes that won.
I would report both groups apart, and not compare them, since {count} pictures are few.\"\"\"
### END SOLUTION
form(named=named, meaning=meaning)""",
]

QUESTIONS["q4"] = [
    """## Question {number_of[q4]}: which of two maps would you believe?

Two maps are said to explain the course's net `shapes_resnet` on picture {judged}. Each is said to say how much every
pixel adds to the logit of the class {own_class} (*{own_name}*), between the input 0, a grey picture, and this picture.
`exam["maps"]`, [2, 2, 128, 128], holds the maps for this class, map 1 and map 2, and then those that were made in the
same way for the class of the other object, {other_class_number} (*{other_name}*).""",
    """one = exam["pictures"][{judged}]
plotting.grid(
    [None, *exam["maps"][0]],
    ["the picture", "map 1", "map 2"],
    over=[one] * 3,
    columns=3,
    width=8,
)""",
    """**Caption.** The picture, and both maps for the class {own_class} over it. Red is for this class, blue is against
it. Each map has its own scale.

One of the maps is refuted by one of these checks, and only by this one. Compute for both maps, [2], map 1 first:

- `other_class`, the rank correlation of the map for the class {own_class} with the map for the class
  {other_class_number} (`evaluation.rank_correlation`). Above {alike}, the map hardly depends on the class, and is
  refuted.
- `adds_up`, the sum of the map for the class {own_class}, divided by the logit of this class for the picture minus
  its logit for the input 0. If it differs from 1 by more than {off}, the map is refuted.
- `removed`, the area under the deletion curve of the map for the class {own_class} (its logit, {steps} steps, with
  0 as the baseline), minus that of the map `evaluation.centred_gaussian(x[[{judged}]])`, which knows nothing about
  the picture. Above 0, pixels are removed in a worse order than without a look at the picture, and the map is
  refuted.""",
    """other_class, adds_up, removed = ..., ..., ...
### BEGIN SOLUTION
resnet, picture = load_classifier("shapes_resnet").model, x[[{judged}]]
own, other = exam["maps"]
other_class = evaluation.rank_correlation(own, other)
with torch.no_grad():
    logits = resnet(torch.cat([picture, torch.zeros_like(picture)]))[:, {own_class}]
adds_up = own.sum((1, 2)) / (logits[0] - logits[1])


def deleted_area(one):
    curve = evaluation.deletion(resnet, picture, one[None], {own_class}, steps={steps})
    return evaluation.area(*curve)[0]


control = deleted_area(evaluation.centred_gaussian(picture)[0])
removed = torch.stack([deleted_area(one) - control for one in own])
### END SOLUTION
form(other_class=other_class, adds_up=adds_up, removed=removed)""",
    """**Your judgement. Answers:** `believe`, the number of the map that you would rather believe, 1 or 2; `decides`,
the check that refutes the other one, "other_class", "adds_up" or "removed"; and a text, `why`: what the deciding number
is for both maps, why it speaks against one of them, and what it leaves open about the other one.

<!-- BEGIN SOLUTION -->
**Answer.** Map {believe}; `{decides}` refutes map {refuted}.

| | `other_class` | `adds_up` | `removed` |
|---|---|---|---|
| map 1 | {numbers[0]} |
| map 2 | {numbers[1]} |
| is refuted | above {alike} | more than {off} from 1 | above 0 |

Map {believe} is integrated gradients from the input 0, {points} points. Map {refuted} is {made}. The numbers are
compared to 2 % of the larger one. The points for `believe` and `decides` are given together, since a coin finds the
map.

What the text says on each level:

- **Level 3.** All of level 2, and a limit: map {believe} is not refuted, and so not proven right; one picture is an
  example; or a mistake that these three checks cannot see.
- **Level 2.** `{decides}` is {bad_number} for map {refuted} and {good_number} for map {believe}, and why that
  matters: {reason}
- **Level 1.** The right map and the right check, but only "the number is worse", without what a right map must
  give; or a right reason that is mixed with how the maps look.
- **Level 0.** No text; or decides by the looks of the maps alone; or defends map {refuted}.
<!-- END SOLUTION -->""",
    """believe, decides = ..., ...
why = \"\"\"...\"\"\"
### BEGIN SOLUTION
believe, decides = {believe}, "{decides}"
why = \"\"\"{why}\"\"\"
### END SOLUTION
form(believe=believe, decides=decides, why=why)""",
]

REASONS = dict(
    zip(
        CHECKS,
        (
            "a map that is nearly the same for two classes cannot say what speaks for one of them.",
            "the pixels' values have to sum to what was added in all; otherwise they are no shares of it.",
            "if its largest values are what the logit needs, removing them first hurts it more than a fixed order.",
        ),
        strict=True,
    )
)


def of_bank(question: Question, number: int) -> list[str]:
    """Return the two cells of a question from a bank, filled in, as the key has them."""
    names = ", ".join(question.answers)
    blank = [f"{names} = {', '.join(['...'] * len(question.answers))}"]
    rows, given = [], [*question.answers]
    if question.free_text:
        blank.append(f'{question.free_text} = """..."""')
        given.append(question.free_text)
        rows = ["", "What the text says on each level:", ""]
        rows += [f"- **Level {i}.** {' '.join(question.rubric[i].split())}" for i in reversed(range(LEVELS))]
    right = [
        f"- `{name}` is `{value.tolist() if hasattr(value, 'tolist') else value}`, to {100 * tolerance:g} %."
        for name, (value, tolerance) in question.answers.items()
    ]
    known = [f"- A known mistake: {hint}" for hint in question.mistakes]
    text = [
        f"## Question {number}: {question.title}",
        "",
        question.text,
        "",
        "<!-- BEGIN SOLUTION -->",
        "**Answer.**",
        "",
    ]
    text += [*right, *known, *rows, "<!-- END SOLUTION -->"]
    code = [*blank, "### BEGIN SOLUTION", question.solution, "### END SOLUTION"]
    code.append(f"form({', '.join(f'{name}={name}' for name in given)})")
    return ["\n".join(text), "\n".join(code)]
