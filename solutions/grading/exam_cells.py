"""The cells of an exam and of its key, with names in braces for what the seed decides; see ``make_exam.py``."""

CELLS = [
    """# Exam: three questions on {count} pictures

**How it works.** Where you see `...  # your code here`, an answer is missing. `form(...)` says whether your answers
have the form that is asked for, and nothing more. You may use all of the course. Hand in this notebook; it has to run
from top to bottom, offline, next to `exam.safetensors`.

<!-- BEGIN SOLUTION -->
**This is the key** of the exam with the seed {seed}, for the instructor. This grades a folder of answers:
`python solutions/grade.py FOLDER --exam {seed}`.
<!-- END SOLUTION -->""",
    "{first}",
    """import hashlib

import torch
from safetensors.torch import load_file

from helpers import attribution, evaluation, plotting
from helpers.data import shapes
from helpers.models import ShapesResNet, load_classifier

file = Path("exam.safetensors")
if hashlib.sha256(file.read_bytes()).hexdigest()[:16] != "{fingerprint}":
    raise ValueError("This exam.safetensors belongs to another exam.")
exam = load_file(file)


def net(letter):
    \"\"\"Return net A or net B of this exam.\"\"\"
    model = ShapesResNet()
    model.load_state_dict({{name[2:]: value for name, value in exam.items() if name.startswith(letter + ".")}})
    return model.eval().requires_grad_(False)""",
    """def form(**answers):
    \"\"\"Say whether each answer has the form that is asked for; right or wrong is another question.\"\"\"
    sizes = {{"peak": (2,), "value": (), "on_watermark": (2, {count}), "on_object": ({count},), "deleted": ({count},)}}
    for name, answer in answers.items():
        if answer is ...:
            print(f"{{name}}: not answered yet.")
        elif name == "fell":
            print(f"fell: {{'the form is right' if answer in ('A', 'B') else 'one letter is asked for, A or B'}}.")
        else:
            found, asked = torch.as_tensor(answer).shape, sizes[name]
            print(f"{{name}}: {{'the form is right' if found == asked else f'{{list(found)}}, not {{list(asked)}}'}}.")


x, x_marked = (shapes.preprocess(exam[name].numpy()) for name in ("pictures", "marked"))
classes = exam["classes"]  # of the objects; the other object of a picture is its distractor
titles = [f"{{i}}: {{shapes.CATEGORIES[c]}}" for i, c in enumerate(classes)]
plotting.grid([*exam["pictures"], *exam["marked"]], titles * 2, columns={count}, width=10)""",
    """**Caption.** Your pictures, numbered from 0, with the class of the object. Below: the same pictures with a
label in a corner, on which the number of a wrong class is printed. `exam` also holds the masks `objects` and
`watermarks`, bool [{count}, 128, 128].

## Question 1: where is the evidence?

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
    """## Question 2: which net fell for the label?

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
display(plotting.grid(torch.cat(maps), over=torch.cat([exam["marked"]] * 2), columns={count}, row_labels=["A", "B"]))
### END SOLUTION
form(fell=fell, on_watermark=on_watermark)""",
    """## Question 3: how good is a map?

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
large = attribution.upsample(attribution.{method}(vgg, x, classes, layer="{layer}", relu=False), (128, 128))
on_object = evaluation.mass_accuracy(large, exam["objects"])
deleted = evaluation.area(*evaluation.deletion(vgg, x, large, classes, steps={steps}))
display(plotting.grid(large, over=exam["pictures"], columns={count}))
### END SOLUTION
form(on_object=on_object, deleted=deleted)""",
]
