"""The checkers of lesson *faithfulness* accept the folded solution, name each known mistake and wait."""

import copy

import torch
from torch import nn

from answers import answer_tests
from helpers.checks import faithfulness


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

ANSWERS = {"with_new": (RIGHT_COPIES, WRONG_COPIES)}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    faithfulness, "faithfulness", ANSWERS
)
