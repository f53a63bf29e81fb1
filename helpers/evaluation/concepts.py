"""Concepts inside a network: directions for named concepts, what they do to a class, and concepts that nobody named.

A **concept** here is a direction in what a layer gives: a vector of its K channels, or of all its K h w values. Two
questions are asked of it. Does the network represent it (held-out accuracy, IoU with a mask)? Does the network use it
(the score along it, what happens without it)? Each has its control: vectors of concepts that do not exist, and masks
of other pictures.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import (
    backward_pass,
    check_count,
    check_pictures,
    explaining,
    run,
    score,
    settle_on_whole,
)
from helpers.attribution._layer_maps import output_of
from helpers.attribution.progress import in_chunks
from helpers.hooks import capture, find_layer

LEAST_NULLS = 30


class ConceptVectors(NamedTuple):
    """Concept activation vectors (CAVs) of one concept, one for each set that it was told apart from.

    Attributes:
        directions: unit vectors that point towards the concept, [R, K], or [R, K, h, w] where all places were used.
        accuracy: how often a classifier is right on the pictures held out, [R]; 0.5 is chance.

    >>> from helpers import evaluation
    >>> evaluation.ConceptVectors._fields
    ('directions', 'accuracy')
    """

    directions: Tensor
    accuracy: Tensor


class Tcav(NamedTuple):
    """What testing with concept activation vectors gives for one concept and one class.

    Attributes:
        score: the mean of ``scores``.
        scores: for each vector, the share of pictures whose score rises along it, [R].
        null_scores: the mean score of each null concept, [Q].
        p_value: two-sided, of the hypothesis that the concept is one more null concept; NaN without null concepts.

    >>> from helpers import evaluation
    >>> evaluation.Tcav._fields
    ('score', 'scores', 'null_scores', 'p_value')
    """

    score: float
    scores: Tensor
    null_scores: Tensor
    p_value: float


class Decomposition(NamedTuple):
    """Feature maps as a sum of a few parts.

    Attributes:
        maps: how much of each part is at each place, [N, R, h, w], not negative.
        directions: what each part is made of, unit vectors of the K channels, [R, K], not negative.

    >>> from helpers import evaluation
    >>> evaluation.Decomposition._fields
    ('maps', 'directions')
    """

    maps: Tensor
    directions: Tensor


class Dissection(NamedTuple):
    """How well each channel, cut at its threshold, covers each concept's masks.

    Attributes:
        iou: intersection over union, over all pictures together, [K, C].
        null_iou: the same with the masks of other pictures, [S, K, C]; S is how often they were shuffled.
        thresholds: of each channel, [K].

    >>> from helpers import evaluation
    >>> evaluation.Dissection._fields
    ('iou', 'null_iou', 'thresholds')
    """

    iou: Tensor
    null_iou: Tensor
    thresholds: Tensor


def concept_vectors(
    concept: Tensor,
    others: Tensor | Sequence[Tensor],
    *,
    pooled: bool = True,
    held_out: float = 0.3,
    penalty: float = 0.01,
    seed: int = 0,
) -> ConceptVectors:
    """Return the concept activation vectors that tell a concept's activations from those of other pictures.

    A logistic regression with weights w separates the two sets, and the vector is w / |w|, which points towards the
    concept. Read the held-out accuracy first: a vector whose classifier is at chance stands for nothing.

    Args:
        concept: what a layer gives for pictures with the concept, [N, K, h, w] or [N, K].
        others: the same for pictures without it, [M, K, h, w] or [M, K]; or a sequence of R such sets, such as random
            pictures, which gives R vectors.
        pooled: average over the places first, so that a vector has K values; False takes all K h w values as they are,
            as the paper does.
        held_out: share of both sets that is kept to measure the accuracy.
        penalty: weight of |w|² / 2 beside the mean loss, for activations whose mean square is 1.
        seed: which pictures are held out; of two sets of one size the same numbers, so that the same picture with and
            without a concept is either learnt from twice or held out twice.

    Returns:
        Directions and accuracies, :class:`ConceptVectors`.

    Raises:
        TypeError: what is given is not a tensor.
        ValueError: too few pictures, other shapes, or values that are NaN or infinite.

    Source:
        Kim et al., "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors
        (TCAV)", 2018.

    >>> import torch
    >>> from helpers import evaluation
    >>> concept, others = torch.zeros(20, 3), torch.zeros(20, 3)
    >>> concept[:, 1] = 1
    >>> found = evaluation.concept_vectors(concept, others)
    >>> found.directions, found.accuracy
    (tensor([[0., 1., 0.]]), tensor([1.]))
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out!r}; give a share between 0 and 1.")
    if penalty <= 0:
        raise ValueError(f"penalty is {penalty!r}; give a number above 0.")
    concept = _activations(concept, "concept")
    sets = [_activations(one, "others") for one in ([others] if isinstance(others, Tensor) else others)]
    if not sets or any(one.shape[1:] != concept.shape[1:] for one in sets):
        raise ValueError(
            f"The concept's activations are {list(concept.shape)}, the others' "
            f"{[list(one.shape) for one in sets]}; take both from the same layer."
        )
    if pooled:
        concept, *sets = (one.flatten(2).mean(2) if one.dim() > 2 else one for one in (concept, *sets))
    found = [_one_vector(concept.flatten(1), one.flatten(1), held_out, penalty, seed) for one in sets]
    directions = torch.stack([direction for direction, _ in found])
    return ConceptVectors(directions.view(len(found), *concept.shape[1:]), torch.tensor([right for _, right in found]))


def tcav(
    model: nn.Module,
    x: Tensor,
    target: object,
    directions: Tensor,
    nulls: Tensor | None = None,
    *,
    layer: str | nn.Module,
    chunk: int | None = None,
) -> Tcav:
    """Return for which share of pictures a class's score rises along a concept's vectors, and whether this is chance.

    With the gradient g of the score in the layer's output, the score rises along the vector v where g · v > 0. A
    vector of K channels is taken at all places alike.

    The null concepts are sets of random pictures that pose as a concept. The p-value is the rank of the concept among
    them: how many of the Q + 1 scores lie at least as far from the median of all. It is right whatever the
    distribution, and no smaller than 1 / (Q + 1). The paper's t-test takes the R vectors of a concept as independent;
    they are not, since all have the concept's own pictures in common.

    Args:
        model: any network, left as it was.
        x: pictures of the class, float [N, C, H, W].
        target: class number, one for each picture, or a function of the logits.
        directions: the concept's vectors, [R, K] or [R, K, h, w], from :func:`concept_vectors`.
        nulls: those of Q null concepts, [Q, R, K] or [Q, R, K, h, w], each told apart from the same R sets; without
            them there is no p-value.
        layer: module, or name of a module, that the vectors belong to.
        chunk: how many pictures run at once; all of them unless given.

    Returns:
        Scores and p-value, :class:`Tcav`.

    Raises:
        TypeError, ValueError: pictures, target or layer that do not fit; vectors of another shape; fewer than 30 null
            concepts.

    Source:
        Kim et al., "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors
        (TCAV)", 2018.

    >>> import torch
    >>> from helpers import evaluation
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> directions = torch.eye(2)
    >>> found = evaluation.tcav(net, torch.rand(4, 1, 2, 2), 0, directions, layer="0")
    >>> found.scores.shape
    torch.Size([2])
    """
    gradients = _layer_gradients(model, x, target, layer, chunk)
    scores = _share_that_rises(gradients, directions)
    if nulls is None:
        return Tcav(scores.mean().item(), scores, torch.zeros(0), float("nan"))
    if nulls.dim() < 3 or nulls.shape[1:] != directions.shape:
        raise ValueError(
            f"The null concepts' vectors are {list(nulls.shape)}; give [Q, {', '.join(map(str, directions.shape))}]: "
            "each null concept against the same sets as the concept."
        )
    null_scores = _share_that_rises(gradients, nulls.flatten(0, 1)).view(nulls.shape[:2]).mean(1)
    return Tcav(scores.mean().item(), scores, null_scores, null_p_value(scores.mean().item(), null_scores))


def null_p_value(score: float, null_scores: Tensor) -> float:
    """Return how unusual a concept's score is among those of null concepts: a two-sided p-value.

    It is the share of all Q + 1 scores, the concept's own among them, that lie at least as far from their median. If
    the concept is one more null concept, each rank is equally likely, and p is below 0.05 in 5 % of the cases at most.

    Args:
        score: of the concept.
        null_scores: of the null concepts, [Q].

    Returns:
        A number from 1 / (Q + 1) to 1.

    Raises:
        ValueError: fewer than 30 null concepts.

    Source:
        Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.null_p_value(1.0, torch.linspace(0.3, 0.7, 39))
    0.025
    """
    null_scores = torch.as_tensor(null_scores).flatten().double().cpu()
    if len(null_scores) < LEAST_NULLS:
        raise ValueError(
            f"{len(null_scores)} null concepts cannot give a p-value below {1 / (len(null_scores) + 1):.2g}; "
            f"give {LEAST_NULLS} or more."
        )
    every = torch.cat([torch.tensor([score], dtype=torch.float64), null_scores])
    distance = (every - every.quantile(0.5)).abs()
    return (distance >= distance[0] - 1e-6).double().mean().item()


def decompose(
    maps: Tensor, components: int = 10, *, directions: Tensor | None = None, steps: int = 300, seed: int = 0
) -> Decomposition:
    """Return feature maps as a sum of a few non-negative parts (NMF): maps ≈ Σ_r part maps_r · direction_r.

    Each place of each picture is a row of K values, which is approximated by a sum of the directions with weights that
    are not negative. Nothing can cancel, so the parts tend to be things that occur together. Directions are sorted by
    how much of the maps they account for.

    Args:
        maps: of any layer behind a ReLU, [N, K, h, w].
        components: R, how many parts.
        directions: keep these, [R, K], and look for the part maps alone: the parts of other pictures, as found before.
        steps: of the solver, at most.
        seed: of its start.

    Returns:
        Part maps and directions, :class:`Decomposition`.

    Raises:
        TypeError: the maps are not a tensor.
        ValueError: they are not [N, K, h, w], hold negative values, NaN or infinity, or allow no so many parts.

    Source:
        Fel et al., "CRAFT: Concept Recursive Activation FacTorization for Explainability", 2023; Lee and Seung,
        "Learning the parts of objects by non-negative matrix factorization", 1999.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.zeros(4, 3, 2, 2)
    >>> maps[:2, 0], maps[2:, 2] = 1, 5
    >>> evaluation.decompose(maps, 2).directions.round(decimals=3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    import warnings

    from sklearn.decomposition import NMF, non_negative_factorization
    from sklearn.exceptions import ConvergenceWarning

    check_count("components", components)
    check_count("steps", steps)
    maps = _activations(maps, "maps")
    if maps.dim() != 4:
        raise ValueError(f"The maps have shape {list(maps.shape)}; give [N, K, h, w].")
    if maps.min() < 0:
        raise ValueError("The maps hold negative values, which no sum of such parts gives; take a layer behind a ReLU.")
    count, channels, *sides = maps.shape
    rows = maps.movedim(1, 3).flatten(0, 2).cpu().numpy()  # [N h w, K]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if directions is None:
            if components > min(rows.shape):
                raise ValueError(
                    f"{len(rows)} places of {channels} channels give {min(rows.shape)} components at most."
                )
            start = int(np.random.default_rng(seed).integers(2**31))
            solver = NMF(components, init="nndsvda", max_iter=steps, tol=1e-4, random_state=start)
            amounts, parts = solver.fit_transform(rows), solver.components_
        else:
            parts = _activations(directions, "directions").cpu().numpy()
            if parts.ndim != 2 or parts.shape[1] != channels or parts.min() < 0:
                raise ValueError(f"The directions are {list(parts.shape)}; give [R, {channels}], not negative.")
            amounts, *_ = non_negative_factorization(
                rows, H=parts, n_components=len(parts), update_H=False, init="custom", max_iter=steps, tol=1e-4
            )
    length = np.linalg.norm(parts, axis=1)
    amounts, parts = amounts * length, parts / np.where(length > 0, length, 1)[:, None]
    order = np.argsort(-amounts.sum(0)) if directions is None else np.arange(len(parts))
    found = torch.from_numpy(amounts[:, order]).float().view(count, *sides, len(parts)).movedim(3, 1)
    return Decomposition(found.to(maps.device), torch.from_numpy(parts[order]).float().to(maps.device))


def dissect(
    maps: Tensor, masks: Tensor | np.ndarray, *, top: float = 0.005, shuffles: int = 1, seed: int = 0
) -> Dissection:
    """Return how well channels cover the masks of concepts (network dissection), and how well by chance.

    A channel's threshold lets the highest share ``top`` of its values through, over all pictures and places. What is
    above it is compared with each concept's mask: intersection over union, over all pictures together. A channel that
    lets through a share q can cover a concept of prevalence p with an IoU of q / p at most, where q < p. What is
    large is said by the null: the masks change places among the pictures.

    Args:
        maps: [N, K, h, w]; they are enlarged bilinearly to the size of the masks.
        masks: bool [N, C, H, W], where each of C concepts is; small ones (32 x 32) do and save time.
        top: share of values above the threshold; the paper takes 0.005.
        shuffles: S, how often the masks change places.
        seed: of these shuffles.

    Returns:
        IoU, null and thresholds, :class:`Dissection`.

    Raises:
        TypeError: the maps are not a tensor.
        ValueError: maps and masks of other shapes, or a share that is not between 0 and 1.

    Source:
        Bau et al., "Network Dissection: Quantifying Interpretability of Deep Visual Representations", 2017.

    >>> import torch
    >>> from helpers import evaluation
    >>> masks = torch.zeros(4, 1, 4, 4, dtype=torch.bool)
    >>> masks[:2, :, :2] = True
    >>> maps = torch.cat([masks.float(), torch.rand(4, 1, 4, 4)], 1)
    >>> evaluation.dissect(maps, masks, top=0.25).iou[0]
    tensor([1.])
    """
    if not 0 < top < 1:
        raise ValueError(f"top is {top!r}; give a share between 0 and 1.")
    maps, masks = _activations(maps, "maps"), torch.as_tensor(masks).to(maps.device)
    if maps.dim() != 4 or masks.dim() != 4 or len(maps) != len(masks) or masks.dtype != torch.bool:
        raise ValueError(
            f"The maps are {list(maps.shape)}, the masks {masks.dtype} {list(masks.shape)}; give [N, K, h, w] and bool "
            "[N, C, H, W]."
        )
    generator = np.random.default_rng(seed)
    orders = [torch.arange(len(masks)), *(torch.from_numpy(generator.permutation(len(masks))) for _ in range(shuffles))]
    truths = [masks[order].movedim(1, 0).flatten(1).float() for order in orders]  # [C, N H W] each
    found, thresholds = [], []
    for channel in maps.split(1, 1):
        large = F.interpolate(channel, size=masks.shape[2:], mode="bilinear", align_corners=False).flatten()
        threshold = large.kthvalue(max(1, round((1 - top) * large.numel()))).values
        above = (large > threshold).float()
        met = torch.stack([truth @ above for truth in truths])  # [1 + S, C]
        union = above.sum() + torch.stack([truth.sum(1) for truth in truths]) - met
        found.append(met / union.clamp(min=1))
        thresholds.append(threshold)
    iou = torch.stack(found, 1)  # [1 + S, K, C]
    return Dissection(iou[0], iou[1:], torch.stack(thresholds))


def _activations(values: Tensor, name: str) -> Tensor:
    """Return activations in float32, detached, after checking them."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} is a {type(values).__name__}; give a tensor, what a layer gives for a batch.")
    if values.dim() not in (2, 4) or not values.numel():
        raise ValueError(f"{name} has shape {list(values.shape)}; give [N, K, h, w] or [N, K], what a layer gives.")
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} holds values that are NaN or infinite.")
    return values.detach().float()


def _one_vector(concept: Tensor, others: Tensor, held_out: float, penalty: float, seed: int) -> tuple[Tensor, float]:
    """Return a unit vector [D] that tells rows [N, D] from rows [M, D], and its accuracy on the rows held out."""
    from sklearn.linear_model import LogisticRegression

    learn, test = [], []
    for label, rows in ((1, concept), (0, others)):
        order = torch.from_numpy(
            np.random.default_rng(seed).permutation(len(rows))
        )  # the same for both: pairs stay whole
        kept = max(1, round(held_out * len(rows)))
        if len(rows) - kept < 2:
            raise ValueError(f"{len(rows)} pictures are too few to learn from some and test on others.")
        learn.append((rows[order[kept:]], label))
        test.append((rows[order[:kept]], label))
    (x, y), (x_test, y_test) = (
        (torch.cat([rows for rows, _ in part]), np.concatenate([np.full(len(rows), label) for rows, label in part]))
        for part in (learn, test)
    )
    mean = x.mean(0)
    scale = (x - mean).square().mean().sqrt().clamp(min=1e-12)
    x, x_test = ((rows - mean) / scale for rows in (x, x_test))
    basis = None
    if x.shape[1] > len(x):  # the weights are a sum of the rows, so that a basis of these is enough
        _, _, basis = torch.linalg.svd(x, full_matrices=False)  # [rows, D]
        x, x_test = x @ basis.T, x_test @ basis.T
    classifier = LogisticRegression(C=1 / (penalty * len(x)), max_iter=1000).fit(x.cpu().numpy(), y)
    right = classifier.score(x_test.cpu().numpy(), y_test)
    weights = torch.from_numpy(classifier.coef_[0]).float().to(x.device)
    weights = weights if basis is None else weights @ basis
    return weights / weights.norm().clamp(min=1e-12), float(right)


def _layer_gradients(model: nn.Module, x: Tensor, target: object, layer: str | nn.Module, chunk: int | None) -> Tensor:
    """Return the gradient of each picture's score in what the layer gives, [N, K, h, w] or [N, K]."""
    module = find_layer(model, layer)
    with explaining(model):
        x = check_pictures(x, model)
        target = settle_on_whole(model, x, target, chunk)
        found = []
        for rows in in_chunks(len(x), chunk, "pictures", x):
            with capture(module) as record, backward_pass(model):
                output = run(model, x[rows], target)
                settled = target if callable(target) else target[rows]
                found.append(record.gradient(score(output, settled, len(x[rows]))))
            output_of(record, module)
        return torch.cat(found).detach()


def _share_that_rises(gradients: Tensor, directions: Tensor) -> Tensor:
    """Return for each vector the share of gradients [N, K, h, w] that have a positive product with it, [R]."""
    if directions.shape[1:] == gradients.shape[1:]:
        along = directions.flatten(1).to(gradients) @ gradients.flatten(1).T
    elif directions.dim() == 2 and gradients.dim() == 4 and directions.shape[1] == gradients.shape[1]:
        along = directions.to(gradients) @ gradients.sum((2, 3)).T
    else:
        raise ValueError(
            f"The vectors are {list(directions.shape)}, the layer gives {list(gradients.shape)}; give [R, "
            f"{gradients.shape[1]}] or [R, {', '.join(map(str, gradients.shape[1:]))}]."
        )
    return (along > 0).float().mean(1).cpu()
