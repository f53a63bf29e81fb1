"""Where an answer is right and where not, and in what order its values are."""

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.checks.behaviour import Case, same
from helpers.checks.steps import CLEAR

ENOUGH = 6  # so many different values hardly agree by chance


def one_value(case: Case) -> str | None:
    """Say whether all values are the same, or the same along the first axis, where they should not be."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if got.numel() > 2 and got.min() == got.max() and not same(right, right.mean().expand_as(right), tolerance):
        return f"every value of {{what}} is {got.min().item():.4g}; does the result reach what you return?"
    if got.dim() < 2 or len(got) < 2 or same(right, right[:1].expand_as(right), CLEAR * tolerance):
        return None
    if same(got, got[:1].expand_as(got), tolerance):
        return "{what} {is_} the same for all entries of the first axis; each has an answer of its own."
    return None


def edge(case: Case) -> str | None:
    """Say whether maps are right inside and wrong at the border, or the other way round."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if right.dim() < 2 or min(right.shape[-2:]) < 3:
        return None
    good = (got - right).abs() <= tolerance * (right.abs().max().item() or 1.0)
    inner = torch.zeros_like(good)
    inner[..., 1:-1, 1:-1] = True
    for word, where in (("inside and wrong at the border", inner), ("at the border and wrong inside", ~inner)):
        if good[where].all() and right[where].any() and not good[~where].any():
            return f"{{what}} {{is_}} right {word}; what is different there?"
    return None


def places(case: Case) -> str | None:
    """Say where an answer is right and where it is not, if that follows a rule."""
    got, right, tolerance = case.got, case.right, case.tolerance
    good, counts = (got - right).abs() <= tolerance * (right.abs().max().item() or 1.0), right != 0
    if got.numel() < 3 or not (good & counts).any():  # a zero among zeros is no achievement
        return None
    bad = ~good
    few = f"{{what}} {{is_}} right but for {int(bad.sum())} of {bad.numel()} values."
    if bad.sum() <= min(3, bad.numel() / 4):
        return few
    for word, where in (("zero", right == 0), ("above zero", right > 0), ("below zero", right < 0)):
        if torch.equal(bad, where) and where.any():
            return f"{{what}} {{is_}} right but for the values that should be {word}."
        if torch.equal(good & counts, where) and where.any():
            return f"{{what}} {{is_}} right only where it should be {word}."
    for axis in range(right.dim()):
        line = (lambda t, axis=axis: t.movedim(axis, 0).flatten(1)) if right.dim() > 1 else (lambda t: t[:, None])
        rights, wrongs = line(good).all(1) & line(counts).any(1), line(bad).any(1)
        if rights.sum() == 1 and not (~wrongs & ~rights).any() and len(rights) > 2:
            return f"{{what}} {{is_}} right at index {_some(rights)} of axis {axis} alone; what about the others?"
        if wrongs.sum() == 1 and len(wrongs) > 2:
            return f"{{what}} {{is_}} wrong at index {_some(wrongs)} of axis {axis} alone."
        if right.dim() > 1 and rights.any() and wrongs.any():
            return f"{{what}} {{is_}} right at the indices {_some(rights)} of axis {axis} and wrong at {_some(wrongs)}."
    if bad.sum() <= bad.numel() / 4:
        return few
    return None


def partly(case: Case) -> str | None:
    """Say at how many places the answer is right, and what the others have in common."""
    got, right, tolerance = case.got, case.right, case.tolerance
    top = right.abs().max().item()
    good = ((got - right).abs() <= tolerance * top) & (right.abs() > 20 * tolerance * top)
    bad = (got - right).abs() > tolerance * top
    if good.sum() < max(3, 0.1 * got.numel()) or len(right[good].unique()) < 3:
        return None
    mine, its = got[bad], right[bad]
    alike = [
        said
        for said, holds in {
            "zero": mine == 0,
            "of the wrong sign": mine * its < 0,
            "too large": mine > its,
            "too small": mine < its,
            "too near to zero": mine.abs() < its.abs(),
            "too far from zero": mine.abs() > its.abs(),
        }.items()
        if holds.all()
    ]
    found = f"{{what}} {{is_}} right for instance at {good.nonzero()[0].tolist()}, and wrong at {int(bad.sum())} of "
    return f"{found}{got.numel()} places{f', always {alike[0]}' if alike else ''}; what is different there?"


def rearranged(case: Case) -> str | None:
    """Say whether the right values, or whole rows of them, stand in another order."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if got.numel() < 2:
        return None
    top = tolerance * (right.abs().max().item() or 1.0)
    for axis in range(right.dim()):
        a, b = (t.movedim(axis, 0).flatten(1) if t.dim() > 1 else t[:, None] for t in (got, right))
        if 1 < len(a) <= 500:
            near = (a[:, None] - b[None]).abs().amax(2) <= top
            if near.any(1).all() and near.any(0).all():
                return f"all values of {{what}} are there, in another order along axis {axis}; do not sort or mix them."
            if near.any(1).all() and (near.sum(0) == len(a)).any():
                k = (near.sum(0) == len(a)).nonzero()[0].item()
                return f"{{what}} {{is_}} the same all along axis {axis}: everywhere stands what belongs to index {k}."
    if same(got.flatten().sort().values, right.flatten().sort().values, tolerance):
        return "{what} {has} the right values at other places; reshape() does not exchange axes, permute() does."
    return None


def order(case: Case) -> str | None:
    """Say whether the values are in the right order of size, though each is wrong."""
    got, right, tolerance = case.got, case.right, case.tolerance
    a, b = got.flatten(), right.flatten()
    if a.numel() < 20 or len(b.unique()) < 20:
        return None
    a, b = a[b.argsort()], b.sort().values
    slack = tolerance * a.abs().max()
    if a[-1] > a[0] and (a.diff() >= -slack).all() and not (a.diff() <= slack).all():
        return "the values of {what} are in the right order and wrong in size; is a root, a power or a limit too much?"
    return None


def order_of_each(case: Case) -> str | None:
    """Say whether the values of each entry are in the right order of size, though not those of all together."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if right.dim() < 2 or len(right) < 2 or right[0].numel() < 8:
        return None
    a, b = got.flatten(1), right.flatten(1)
    slack = tolerance * a.abs().max()
    a, steps = a.gather(1, b.argsort(1)), b.sort(1).values.diff(dim=1)
    steps = (a.diff(dim=1) >= -slack) | (steps <= tolerance * b.abs().max())
    spread = a.amax(1) - a.amin(1)
    if not steps.all() or spread.min() <= 4 * slack or min(len(row.unique()) for row in a) < 6:
        return None
    return "the values of each entry of {what} are in the right order, and wrong in size; what scales an entry?"


def limited(case: Case) -> str | None:
    """Say whether values are cut off at a limit of their own, or set to zero where they are small."""
    got, right, tolerance = case.got, case.right, case.tolerance
    top, low, high = right.abs().max().item(), got.min().item(), got.max().item()
    if len(got.unique()) < ENOUGH or same(got, right, 10 * tolerance):
        return None
    if same(got, right.clamp(low, high), tolerance):
        cut = [f"below {low:.4g}"] * (right.min().item() < low - tolerance * top)
        cut += [f"above {high:.4g}"] * (right.max().item() > high + tolerance * top)
        return f"{{what}}: values {' and '.join(cut)} are cut off; keep them." if cut else None
    gone = (got == 0) & (right != 0)
    if not gone.any() or not ((got - right).abs()[~gone] <= tolerance * top).all() or gone.all():
        return None
    for word, size in (("values up to", right), ("values of a size up to", right.abs())):
        if size[gone].max() < size[~gone & (right != 0)].min():
            return f"{{what}}: {word} {size[gone].max().item():.4g} are set to zero; keep them."
    return f"{{what}} {{is_}} right but for {int(gone.sum())} of {gone.numel()} values that are set to zero."


def from_neighbours(case: Case) -> str | None:
    """Say whether each value is one weighted sum of the right values around it, as after a blur or half a step."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if right.dim() < 2 or min(right.shape[-2:]) < 3:
        return None
    maps = right.reshape(-1, 1, *right.shape[-2:])
    inner = got.reshape(maps.shape)[..., 1:-1, 1:-1].flatten()
    if len(inner) < 18 or len(inner.unique()) < 18:
        return None
    around = F.unfold(maps, 3).transpose(1, 2).reshape(-1, 9)
    if torch.linalg.matrix_rank(around) < 9:
        return None
    kernel = torch.linalg.lstsq(around, inner[:, None]).solution[:, 0]
    if not same(around @ kernel, inner, tolerance) or kernel[4] > 1 - 1e-3 and kernel.abs().sum() < 1 + 1e-2:
        return None
    rows = kernel.view(3, 3)
    down, right_ = ((rows.sum(1 - axis) * torch.tensor([-1.0, 0, 1])).sum().item() for axis in (0, 1))
    if abs(rows.sum().item() - 1) < 1e-2 and max(abs(down), abs(right_)) > 0.2 and rows.min() > -1e-3:
        return f"inside, {{what}} {{is_}} moved by {_steps(-down)} places down and {_steps(-right_)} to the right."
    said = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in rows.tolist())
    return f"inside, each value of {{what}} is a weighted sum of the right values around it, with weights {said}."


def _some(chosen: Tensor) -> str:
    found = chosen.nonzero().flatten().tolist()
    return ", ".join(map(str, found[:4])) + ", ..." * (len(found) > 4)


def _steps(places: float) -> str:
    return f"{round(places, 2) + 0.0:g}"
