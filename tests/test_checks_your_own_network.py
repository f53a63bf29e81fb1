"""The checkers of lesson *your_own_network* accept the folded solutions, name known mistakes and wait."""

import torch
from torch import nn

from answers import answer_tests
from helpers.checks import your_own_network
from helpers.data import shapes
from helpers.models import Classifier
from helpers.report import write_report


def right_logits(output):
    if isinstance(output, dict):
        return next(output[key] for key in ("logits", "scores") if key in output)
    if isinstance(output, tuple | list):
        return output[0]
    return output if isinstance(output, torch.Tensor) else output.logits


def by_trial(output):
    for read in (lambda o: o.logits, lambda o: o["logits"], lambda o: o["scores"], lambda o: o[0]):
        try:
            if not isinstance(output, torch.Tensor):
                return read(output)
        except (AttributeError, KeyError, TypeError):
            continue
    return output.numpy()


def find(model, x, *, order="runs", pooled=False, places=True, keep=False):
    seen, handles = [], []

    def note(name):
        def hook(module, inputs, output):
            pooling = "Pool" in type(module).__name__
            if output.dim() == 4 and (not places or min(output.shape[2:]) > 1) and (pooled or not pooling):
                seen.append(name)

        return hook

    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(note(name)))
    with torch.no_grad():
        model(x)
    for handle in [] if keep else handles:
        handle.remove()
    if order == "held":
        return [name for name, module in model.named_modules() if name in seen and "squeeze" not in name][-1]
    return seen[0] if order == "first" else seen[-1]


def mask(rows=slice(None), columns=slice(None), shape=(64, 64)):
    found = torch.zeros(shape, dtype=torch.bool)
    found[rows, columns] = True
    return found


def tiny(pictures=4, same=False):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    drawn = shapes.one(pictures, 5).images
    with torch.no_grad():  # so that some pictures get one answer and some another, or all the first one
        net[4].bias -= net(shapes.preprocess(drawn)).mean(0)
        net[4].bias[0] += 1e4 * same
    classifier = Classifier(
        net.eval(), ["a", "b", "c"], lambda many: shapes.preprocess(many), "1", "course", "tiny", "nothing"
    )
    return lambda folder: write_report(classifier, drawn, folder / "report.html")


def elsewhere(folder):
    made = tiny()(folder)
    return made.rename(folder.parent / "elsewhere_report_of_a_test.html")


ANSWERS = {
    "logits_of": (
        {"by kind": right_logits, "by trial": by_trial},
        {
            "you return the whole output": lambda output: output,
            "these are the features": lambda output: (
                output
                if isinstance(output, torch.Tensor)
                else output[-1]
                if isinstance(output, tuple)
                else right_logits(output)
            ),
            "these are probabilities": lambda output: right_logits(output).softmax(1),
            "these are log-probabilities": lambda output: right_logits(output).log_softmax(1),
            "first picture alone": lambda output: right_logits(output)[0],
            "numbers of the top classes": lambda output: right_logits(output).argmax(1),
            'a dict with "scores"': lambda output: (
                output["logits"] if isinstance(output, dict) else right_logits(output)
            ),
            "returns nothing": lambda output: output if isinstance(output, torch.Tensor) else None,
        },
    ),
    "last_maps": (
        {
            "the outer module": lambda model, x: find(model, x).partition(".")[0],
            "the module itself": lambda model, x: dict(model.named_modules())[find(model, x)],
        },
        {
            "one place": lambda model, x: find(model, x, places=False),
            "a pooling": lambda model, x: find(model, x, pooled=True),
            "*holds*": lambda model, x: find(model, x, order="held"),
            "runs first": lambda model, x: "first" if hasattr(model, "first") else "body",
            "gives logits": lambda model, x: "head" if hasattr(model, "head") else "fc",
            "the network itself": lambda model, x: "",
            "no name of a layer": lambda model, x: 7,
            "still in": lambda model, x: find(model, x, keep=True),
        },
    ),
    "place_of_the_fault": (
        {"from above": lambda: mask(slice(60, 64)), "numpy": lambda: mask(slice(-4, None)).numpy()},
        {
            "It lies at the upper edge": lambda: mask(slice(0, 4)),
            "It lies at the left edge": lambda: mask(slice(None), slice(0, 4)),
            "nothing of the fault": lambda: mask(slice(20, 44), slice(20, 44)),
            "names no place": lambda: mask(),
            "over the whole width": lambda: mask(slice(-4, None), slice(0, 20)),
            "count the darker rows again": lambda: mask(slice(-3, None)),
            "64 of 320 pixels are too many": lambda: mask(slice(-5, None)),
            "768 of 1024 pixels are too many": lambda: mask(slice(-16, None)),
            "one value for each pixel": lambda: mask(shape=(1, 64, 64)),
            "give a bool tensor": lambda: mask(slice(-4, None)).float(),
        },
    ),
    "my_report": (
        {"a path as text": lambda folder: str(tiny(5)(folder))},
        {
            "a mosaic takes four": tiny(3),
            "the same answer": tiny(4, same=True),
            "outside of the folder": elsewhere,
            "there is no file": lambda folder: folder / "nothing.html",
            "return the path": lambda folder: 3,
        },
    ),
}
(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(your_own_network, "your_own_network", ANSWERS)
