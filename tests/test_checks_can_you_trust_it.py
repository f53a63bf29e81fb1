"""The checkers of lesson *can_you_trust_it* accept the folded solutions, name each known mistake and wait."""

import copy

import torch
from torch import nn

from answers import answer_tests
from helpers import evaluation
from helpers.checks import can_you_trust_it


def rows(function):
    """A grade of a batch, picture by picture: function(values [P], inside [P], k) -> number."""
    return lambda maps, masks: torch.stack(
        [torch.as_tensor(function(v, m, m.sum()), dtype=torch.float32)
         for v, m in zip(maps.flatten(1), masks.flatten(1), strict=True)]
    )  # fmt: skip


def topk(values, inside, k):
    return inside[values.topk(int(k)).indices].sum() / k


def first_come(values, inside, k):
    return inside[values.argsort(descending=True, stable=True)[:k]].sum() / k


def at_random(values, inside, k):
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(int(k)))
    return first_come(values[order], inside[order], k)


def last_value(values, k):
    return values.sort(descending=True).values[k - 1]


def inside_first(values, inside, k):
    order = (values.double() + 1e-9 * inside).argsort(descending=True)
    return inside[order[:k]].sum() / k


def many_shuffles(values, inside, k):
    """The expectation by hand: each value's chance of a place."""
    last = last_value(values, k)
    chance = torch.where(values > last, 1.0, 0.0)
    chance[values == last] = (k - (values > last).sum()) / (values == last).sum()
    return (chance * inside).sum() / k


def same_k(k_of):
    """Rank accuracy with one k for all pictures."""

    def graded(maps, masks):
        k = k_of(masks.flatten(1).sum(1))
        return rows(lambda v, m, _: many_shuffles(v, m, k))(maps, masks)

    return graded


def together(maps, masks):
    last = last_value(maps.flatten(), masks.sum())
    return ((maps >= last) & masks).sum((1, 2)) / masks.sum((1, 2))


def overwriting(maps, masks):
    result = evaluation.rank_accuracy(maps, masks)
    maps.relu_()
    return result


RIGHT_GRADES = {
    "helper": evaluation.rank_accuracy,
    "chances": rows(many_shuffles),
    "numpy": lambda maps, masks: evaluation.rank_accuracy(maps, masks).numpy(),
    "double": lambda maps, masks: evaluation.rank_accuracy(maps.double(), masks),
}
WRONG_GRADES = {
    "topk and argsort go by": rows(first_come),
    "with them, topk": rows(topk),
    "Share the last places.": rows(at_random),
    "Leave out abs()": lambda maps, masks: evaluation.rank_accuracy(maps.abs(), masks),
    "you choose the lowest": lambda maps, masks: evaluation.rank_accuracy(-maps, masks),
    "this is the mass accuracy": evaluation.mass_accuracy,
    "not the mean of all masks": same_k(lambda sizes: int(sizes.float().mean())),
    "the first mask's number": same_k(lambda sizes: int(sizes[0])),
    "divide by the picture's pixels": rows(lambda v, m, k: many_shuffles(v, m, k) * k / len(v)),
    "these are counts": rows(lambda v, m, k: many_shuffles(v, m, k) * k),
    "of all pictures together": together,
    "the pictures are mixed": lambda maps, masks: evaluation.rank_accuracy(maps, masks).mean(),
    "more than k are chosen": rows(lambda v, m, k: ((v >= last_value(v, k)) & m).sum() / k),
    "fewer than k are chosen": rows(lambda v, m, k: ((v > last_value(v, k)) & m).sum() / k),
    "those inside first": rows(inside_first),
    "wrote into `maps`": overwriting,
    "2 times too small": lambda maps, masks: evaluation.rank_accuracy(maps, masks) / 2,
    "has shape": lambda maps, masks: evaluation.rank_accuracy(maps, masks)[:, None],
}


def reset(module):
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()


def changed_by(change, copied=copy.deepcopy):
    """A function of model and stage: ``change(stage's module)`` in a copy of the model."""

    def with_new(model, stage):
        result = copied(model)
        change(result.get_submodule(stage))
        return result

    return with_new


def by_name(model, stage):
    result = copy.deepcopy(model)
    for name, module in result.named_modules():
        if (name == stage or name.startswith(f"{stage}.")) and hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return result


def by_apply(model, stage):
    result = copy.deepcopy(model)
    result.get_submodule(stage).apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None)
    return result


def parameters_alone(stage):
    for module in stage.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight), nn.init.zeros_(module.bias)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()


def children_alone(stage):
    for module in [stage, *stage.children()]:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()


def each(change):
    """Change every parameter and statistic of a stage."""

    def all_of(stage):
        for tensor in stage.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(change(tensor))

    return all_of


def shuffled(tensor):
    return tensor.flatten()[torch.randperm(tensor.numel())].view_as(tensor) if tensor.dim() > 1 else tensor + 1


def seeded(model, stage):
    torch.manual_seed(0)
    return by_name(model, stage)


def everything(model, stage):
    result = copy.deepcopy(model)
    reset(result)
    return result


def by_the_beginning_of_the_name(model, stage):
    result = copy.deepcopy(model)
    for name, layer in result.named_modules():
        if name.startswith(stage) and hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return result


RIGHT_COPIES = {"by name": by_name, "apply": by_apply, "modules": changed_by(reset)}
WRONG_COPIES = {
    "it is the model itself": changed_by(reset, copied=lambda model: model),
    "copy.copy is too shallow": changed_by(reset, copied=copy.copy),
    "return a changed copy": lambda model, stage: model,
    "returns only the stage": lambda model, stage: by_name(model, stage).get_submodule(stage),
    "returns this: ": lambda model, stage: by_name(model, stage).state_dict(),
    "nothing in 'stage' is new": lambda model, stage: copy.deepcopy(model),
    "is as before": changed_by(children_alone),
    "running statistics": changed_by(parameters_alone),
    "has changed, too": everything,
    "whose name only resembles 'stage'": by_the_beginning_of_the_name,
    "the stage is zero now": changed_by(each(torch.zeros_like)),
    "in another order": changed_by(each(shuffled)),
    "do not set a seed": seeded,
    "not those of a net before training": changed_by(each(lambda t: t + torch.randn_like(t))),
    "leave the mode alone": lambda model, stage: by_name(model, stage).train(),
    "your function stopped with": lambda model, stage: model.get_submodule(stage).reset_parameters(),
}

ANSWERS = {
    "my_rank_accuracy": (RIGHT_GRADES, WRONG_GRADES),
    "with_new": (RIGHT_COPIES, WRONG_COPIES),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    can_you_trust_it, "can_you_trust_it", ANSWERS
)
