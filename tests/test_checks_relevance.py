"""The checkers of lesson *relevance* accept the folded solutions, name each known mistake and wait."""

import torch

from answers import answer_tests
from helpers.checks import relevance


def shared(part, axis=1):
    total = part.sum(axis, keepdim=True)
    return part / torch.where(total == 0, 1, total)


def paid(up, down, R, alpha, beta=None):
    return torch.einsum("njk,nk->nj", alpha * up - (alpha - 1 if beta is None else beta) * down, R)


def kinds(a, w, axis=1):
    m = a[:, :, None] * w
    return shared(m.clamp(min=0), axis), shared(m.clamp(max=0), axis)


def split_weights(a, w, R, alpha):
    return paid(shared(a[:, :, None] * w.clamp(min=0)), shared(a[:, :, None] * w.clamp(max=0)), R, alpha)


def without_negative_activations(a, w, R, alpha):
    return paid(*kinds(a.clamp(min=0), w), R, alpha)


def only_like_signs(a, w, R, alpha):
    up = shared(a.clamp(min=0)[:, :, None] * w.clamp(min=0))
    return paid(up, shared(a.clamp(max=0)[:, :, None] * w.clamp(max=0)), R, alpha)


def naive(a, w, R, alpha):
    m = a[:, :, None] * w
    up, down = m.clamp(min=0), m.clamp(max=0)
    return paid(up / up.sum(1, keepdim=True), down / down.sum(1, keepdim=True), R, alpha)


def of_the_whole(a, w, R, alpha):
    m = a[:, :, None] * w
    total = m.sum(1, keepdim=True)
    total = torch.where(total == 0, 1, total)
    return torch.einsum("njk,nk->nj", (alpha * m.clamp(min=0) + (alpha - 1) * m.clamp(max=0)) / total, R)


def with_divisor(divisor, sign):
    """Contributions divided by one sum for both signs, and the negative ones with the one or the other sign."""

    def alpha_beta(a, w, R, alpha):
        m = a[:, :, None] * w
        total = divisor(m)
        total = torch.where(total == 0, 1, total)
        kept = alpha * m.clamp(min=0) + sign * (1 - alpha) * m.clamp(max=0)
        return torch.einsum("njk,nk->nj", kept / total, R)

    return alpha_beta


def by_matrices(a, w, R, alpha):
    """The same sums without a tensor [N, J, K]: two products for each kind, as zennit does it."""
    result = 0
    for share, sign in ((alpha, 1), (1 - alpha, -1)):
        pairs = [((t * a).clamp(min=0) * t, (t * sign * w).clamp(min=0) * t * sign) for t in (1, -1)]
        z = sum(p @ q for p, q in pairs)
        c = share * R / (z + sign * 1e-9)
        result = result + sum(p * (c @ q.T) for p, q in pairs)
    return result


def in_a_loop(a, w, R, alpha):
    result = torch.zeros_like(a)
    for n, k in torch.cartesian_prod(torch.arange(len(a)), torch.arange(w.shape[1])):
        m = a[n] * w[:, k]
        for part, share in ((m.clamp(min=0), alpha), (m.clamp(max=0), 1 - alpha)):
            if part.any():
                result[n] += share * R[n, k] * part / part.sum()
    return result


RIGHT_RULES = {"matrices": by_matrices, "loop": in_a_loop, "numpy": lambda *given: in_a_loop(*given).numpy()}
WRONG_RULES = {
    "were swapped": lambda a, w, R, alpha: paid(*kinds(a, w)[::-1], R, alpha),
    "you added it": lambda a, w, R, alpha: paid(*kinds(a, w), R, alpha, 1 - alpha),
    "do not add up to 1": lambda a, w, R, alpha: paid(*kinds(a, w), R, alpha, alpha),
    "only the positive contributions": lambda a, w, R, alpha: paid(*kinds(a, w), R, alpha, 0),
    "right for alpha 2 alone": lambda a, w, R, alpha: paid(*kinds(a, w), R, alpha, 1),
    "normalised over the outputs": lambda a, w, R, alpha: paid(*kinds(a, w, axis=2), R, alpha),
    "split the weights by sign": split_weights,
    "left out the negative activations": without_negative_activations,
    "divided by the whole sum": of_the_whole,
    "the whole sum z": with_divisor(lambda m: m.sum(1, keepdim=True), 1),
    "the sum of all sizes": with_divisor(lambda m: m.abs().sum(1, keepdim=True), 1),
    "by the sum of all sizes": with_divisor(lambda m: m.abs().sum(1, keepdim=True), -1),
    "this is LRP-0": lambda a, w, R, alpha: torch.einsum("njk,nk->nj", shared(a[:, :, None] * w), R),
    "0 was divided by 0": naive,
    "is not moved by `a`": only_like_signs,
    "stopped with": lambda a, w, R, alpha: (R @ w) * a,
    "squeeze": lambda a, w, R, alpha: in_a_loop(a, w, R, alpha)[None],
}


def quotient(s, f, R):
    return R / torch.where(s + f == 0, 1, s + f)


RIGHT_SUMS = {
    "the rest": lambda s, f, R: (s * quotient(s, f, R), R - s * quotient(s, f, R)),
    "stabilised": lambda s, f, R: [part * R / (s + f + 1e-7 * torch.where(s + f < 0, -1, 1)) for part in (s, f)],
    "nan_to_num": lambda s, f, R: ((s / (s + f) * R).nan_to_num(0), (f / (s + f) * R).nan_to_num(0)),
    "autograd": lambda s, f, R: tuple(part * quotient(s, f, R) for part in (s, f)),
}
WRONG_SUMS = {
    "which doubles it": lambda s, f, R: (R, R),
    "each branch got half": lambda s, f, R: (R / 2, R / 2),
    "the shortcut got everything": lambda s, f, R: (R, torch.zeros_like(R)),
    "the branch f got everything": lambda s, f, R: (torch.zeros_like(R), R),
    "swapped": lambda s, f, R: (f * quotient(s, f, R), s * quotient(s, f, R)),
    "shared by size": lambda s, f, R: tuple(t.abs() * quotient(s.abs(), f.abs(), R) for t in (s, f)),
    "multiply them by R": lambda s, f, R: tuple(t * quotient(s, f, torch.ones_like(R)) for t in (s, f)),
    "never divided": lambda s, f, R: (s * R, f * R),
    "0 was divided by 0": lambda s, f, R: (s * R / (s + f), f * R / (s + f)),
    "two tensors are asked for": lambda s, f, R: s * quotient(s, f, R),
    "the shape of R": lambda s, f, R: (R.sum(1), R.sum(1)),
    "a factor of its own at each index of axis 0, from -1 to 1": lambda s, f, R: (
        s * quotient(s, f, R),
        -f * quotient(s, f, R),
    ),
}

ANSWERS = {
    "alpha_beta": (RIGHT_RULES, WRONG_RULES),
    "share_sum": (RIGHT_SUMS, WRONG_SUMS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    relevance, "relevance", ANSWERS
)


def test_half_a_blank_is_no_answer():
    assert relevance.check_share_sum(lambda s, f, R: (s, ...)) is None
