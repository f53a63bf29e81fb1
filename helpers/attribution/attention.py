"""Explanations of transformers by their attention: rollout, and the relevance of Chefer et al.

In the formulas A is the attention of one block, [heads, T, T]: row i holds the weights with which token i takes up the
T tokens, and sums to one.
"""

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn
from torch.overrides import TorchFunctionMode

from helpers.attribution._common import (
    PICTURE,
    Target,
    backward_pass,
    check_count,
    check_pictures,
    explaining,
    kind,
    of_rows,
    run,
    scores_of,
    settle_on_whole,
    wide,
)
from helpers.attribution._layer_maps import square_grids
from helpers.attribution.progress import in_chunks
from helpers.hooks import tokens_as_maps


def attention_rollout(
    model: nn.Module, x: Tensor, *, grid: tuple[int, ...] | None = None, skip: int | None = None, chunk: int = 16
) -> Tensor:
    r"""Return attention rollout (Abnar and Zuidema, 2020): the attention of all blocks, multiplied.

    .. math:: R = \hat A_L \cdots \hat A_2 \hat A_1, \quad
              \hat A_l = \tfrac{1}{2} \, \mathrm{mean}_{heads}(A_l) + \tfrac{1}{2} I

    The half of the identity stands for the shortcut around each attention. The map is the row of R that belongs to the
    class token, or the mean of all rows in a network that averages its tokens. No score is used: the map is the same
    for every class. One forward pass.

    Args:
        model: vision transformer, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        grid: (h, w), how many patches there are from top to bottom and from left to right; unless given, the one grid
            of square patches that fits. For texts (l,).
        skip: how many tokens before the patches are none: 1 for a class token, 0 for a network without; unless given,
            what fits. Of several the first has to be the class token.
        chunk: how many pictures at once; each keeps the attention of all blocks in memory.

    Returns:
        Raw maps [N, h, w], detached, at least in float32, never negative.

    Raises:
        TypeError: the model is not a module, or the pictures are not floats.
        ValueError: pictures that cannot be used, a network without attention or with attention inside of windows, or
            tokens that fit no grid; the message names the cure.

    Source:
        Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> from helpers.models import ShapesViT
        >>> attribution.attention_rollout(ShapesViT(), torch.rand(2, 3, 128, 128)).shape
        torch.Size([2, 8, 8])
    """
    maps = []
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        for rows in in_chunks(len(x), chunk, "attention rollout", x):
            with _Attention() as attention:
                run(model, x[rows], target=lambda output: output)
            R = None
            for A in attention.of_blocks(model, len(rows)):
                A = _of_heads(A, len(rows))
                mixed = 0.5 * A.mean(1) + 0.5 * torch.eye(A.shape[-1]).to(A)
                R = mixed if R is None else mixed @ R
            maps.append(_as_map(R, x, grid, skip))
    return torch.cat(maps)


def attention_relevance(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    grid: tuple[int, ...] | None = None,
    skip: int | None = None,
    chunk: int = 16,
) -> Tensor:
    r"""Return the relevance of Chefer et al. (2021): attention, where raising it would raise the score.

    .. math:: R \leftarrow R + \bar A_l R, \quad
              \bar A_l = \mathrm{mean}_{heads}\Big(\mathrm{relu}\Big(\frac{\partial y_c}{\partial A_l}
              \odot A_l\Big)\Big)

    from R = I, block by block. The map is the row of R that belongs to the class token, or the mean of all rows (less
    the I from the start) in a network that averages its tokens. The gradient makes it depend on the class. One forward
    and one backward pass.

    Args:
        model: vision transformer, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        grid: (h, w), how many patches there are from top to bottom and from left to right; unless given, the one grid
            of square patches that fits. For texts (l,).
        skip: how many tokens before the patches are none: 1 for a class token, 0 for a network without; unless given,
            what fits. Of several the first has to be the class token.
        chunk: how many pictures at once; each keeps the attention of all blocks in memory.

    Returns:
        Raw maps [N, h, w], detached, at least in float32, never negative.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures or target that cannot be used, a network without attention or with attention inside of
            windows, tokens that fit no grid, or a score that does not depend on any attention; the message names the
            cure.

    Source:
        Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers", 2021; their self-attention rule.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> from helpers.models import ShapesViT
        >>> attribution.attention_relevance(ShapesViT(), torch.rand(2, 3, 128, 128), target=1).shape
        torch.Size([2, 8, 8])
    """
    maps = []
    with explaining(model):
        x = check_pictures(x, model)
        check_count("chunk", chunk)
        whole = len(x) <= chunk  # then one pass tells the top classes, too
        settled_target = target if whole else settle_on_whole(model, x, target, chunk)
        for rows in in_chunks(len(x), chunk, "attention relevance", x):
            z = x[rows].requires_grad_()  # so that the attention has a graph, though all parameters are frozen
            with _Attention() as attention:
                scores = scores_of(model, z, settled_target if whole else of_rows(settled_target, rows))
            blocks = attention.of_blocks(model, len(z))
            R = I = torch.eye(blocks[0].shape[-1]).to(scores)
            for A, gradient in zip(blocks, _gradients(model, scores, blocks), strict=True):
                A, gradient = _of_heads(A.detach(), len(z)), _of_heads(gradient, len(z))
                R = R + (gradient * A).relu().mean(1) @ R
            maps.append(_as_map(R - I, x, grid, skip))
    return torch.cat(maps)


def _gradients(model: nn.Module, scores: Tensor, blocks: list[Tensor]) -> list[Tensor]:
    """Return the gradient of the scores [N] with respect to the attention of each block.

    Raises:
        ValueError: the scores depend on no attention.
    """
    with backward_pass(model):
        found = autograd.grad(scores.sum(), blocks, allow_unused=True)
    if all(gradient is None or not gradient.any() for gradient in found):
        raise ValueError(f"The score does not depend on any attention of {type(model).__name__}: explain a logit.")
    return [torch.zeros_like(A) if g is None else g for g, A in zip(found, blocks, strict=True)]


def _of_heads(A: Tensor, count: int) -> Tensor:
    """Return attention, or its gradient, as [N, heads, T, T], at least in float32."""
    return wide(A if A.dim() == 4 else A.unflatten(0, (count, -1)))


def _as_map(R: Tensor, x: Tensor, grid: tuple[int, ...] | None, skip: int | None) -> Tensor:
    """Return the map [N, h, w] of R [N, T, T]: the class token's row, or the mean of all rows without one."""
    grid, skip = _grid_and_skip(R.shape[-1], x, grid, skip)
    row = R[:, 0] if skip else R.mean(1)
    return tokens_as_maps(grid, skip)(row[..., None])[:, 0]


def _grid_and_skip(tokens: int, x: Tensor, grid: tuple[int, ...] | None, skip: int | None):
    """Return the caller's grid and skip, or the only ones that fit the number of tokens.

    Raises:
        ValueError: none fits, or several do.
    """
    if grid is not None and skip is not None:
        return tuple(grid), skip
    if kind(x) is PICTURE:
        fitting = square_grids(tokens, x)
    else:
        fitting = [((tokens - some,), some) for some in (0, 1) if tokens - some == x.shape[2]]
    fitting = [(g, s) for g, s in fitting if grid in (None, g) and skip in (None, s)]
    if len(fitting) != 1:
        raise ValueError(
            f"{tokens} tokens fit {len(fitting)} grids of {kind(x).one}s {list(x.shape)}: say grid=(h, w), the patches "
            "from top to bottom and from left to right, and skip=..., how many other tokens stand before them."
        )
    return fitting[0]


class _Attention(TorchFunctionMode):
    """Inside the block the attention weights of a network are computed in view, and kept in the order they run.

    It looks at three ways in which attention is written: a softmax, ``scaled_dot_product_attention``, and
    ``nn.MultiheadAttention``. The last two never show their weights, and are computed here by their formula.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if func is F.multi_head_attention_forward:
            return self._multi_head(**_by_name(F.multi_head_attention_forward, args, kwargs))
        if name == "scaled_dot_product_attention":
            return self._dot_product(*args, **kwargs)
        result = func(*args, **kwargs)
        if name == "softmax" and result.dim() in (3, 4) and result.shape[-1] == result.shape[-2]:
            self.seen.append(result)
        return result

    def _dot_product(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **more):
        if is_causal:
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        products = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            products = products.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            products = products + attn_mask
        weights = products.softmax(-1)
        self.seen.append(weights)
        return weights @ value

    def _multi_head(self, query, key, value, num_heads, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias,
                    **more):  # fmt: skip
        """nn.MultiheadAttention, whose tokens come as [T, N, K] here."""
        parts = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "attn_mask", "use_separate_proj_weight")
        used = [part for part in parts if more.get(part) is not None and more[part] is not False]
        if used:
            raise ValueError(f"An nn.MultiheadAttention uses {used[0]}, for which rollout and relevance are not made.")
        weights = in_proj_weight.chunk(3)
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        sources = (query, key, value)
        q, k, v = (
            F.linear(source, weight, bias).unflatten(2, (num_heads, -1)).permute(1, 2, 0, 3)  # [N, heads, T, d]
            for source, weight, bias in zip(sources, weights, biases, strict=True)
        )
        mixed = self._dot_product(q, k, v).permute(2, 0, 1, 3).flatten(2)
        output = F.linear(mixed, out_proj_weight, out_proj_bias)
        return output, self.seen[-1].mean(1) if more.get("need_weights", True) else None

    def of_blocks(self, model: nn.Module, count: int) -> list[Tensor]:
        """Return the attention of each block as the network made it, [N, heads, T, T] or [N heads, T, T].

        Raises:
            ValueError: there is none, or its tokens are not the same in all blocks.
        """
        name = type(model).__name__
        if not self.seen:
            raise ValueError(f"{name} runs no attention between tokens: for convolutions use grad_cam or another map.")
        shapes = {(count if A.dim() == 3 and len(A) % count == 0 else len(A), A.shape[-1]) for A in self.seen}
        if len(shapes) > 1 or next(iter(shapes))[0] != count:
            raise ValueError(
                f"The attention of {name} stays inside of windows, or its tokens change from block to block, so that "
                "there is no path from token to token: use grad_cam with as_maps, or attention of a plain ViT."
            )
        return self.seen


def _by_name(func, args: tuple, kwargs: dict) -> dict:
    return dict(inspect.signature(func).bind(*args, **kwargs).arguments)
