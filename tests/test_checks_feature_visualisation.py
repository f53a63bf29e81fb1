"""The checkers of lesson *feature_visualisation* accept the folded solutions, name each known mistake and wait."""

import numpy as np
import torch

from answers import answer_tests
from helpers.checks import feature_visualisation

WHOLE = (1, 2, 3)


def slope(score, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(score(x).sum(), x)[0]


def norm(g):
    return g.square().sum(WHOLE, keepdim=True).sqrt()


def climb(scaled, end=lambda x: x.clamp(0, 1), more=0):
    def ascend(score, start, steps, rate):
        x = start.clone()
        for _ in range(steps + more):
            x = end(x + rate * scaled(slope(score, x)))
        return x

    return ascend


def one_by_one(score, start, steps, rate):
    done = []
    for i in range(len(start)):
        x = start.clone()
        for _ in range(steps):
            g = slope(lambda x, i=i: score(x)[i], x)
            x[i] = (x[i] + rate * g[i] / g[i].norm()).clamp(0, 1)
        done.append(x[i])
    return torch.stack(done).numpy()


def with_backward(score, start, steps, rate):
    x = start.clone()
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (-score(x)).sum().backward()
        x = torch.clamp(x - rate * torch.nn.functional.normalize(x.grad.flatten(1)).view_as(x), 0, 1)
    return x


def frozen_slope(score, start, steps, rate):
    g, x = slope(score, start), start
    for _ in range(steps):
        x = (x + rate * g / norm(g)).clamp(0, 1)
    return x


def cut_at_the_end(score, start, steps, rate):
    return climb(lambda g: g / norm(g), lambda x: x)(score, start, steps, rate).clamp(0, 1)


def overwriting(score, start, steps, rate):
    for _ in range(steps):
        g = slope(score, start)
        start += rate * g / norm(g)
        start.clamp_(0, 1)
    return start


RIGHT_CLIMBS = {"in one batch": climb(lambda g: g / norm(g)), "one by one": one_by_one, "backward": with_backward}


def the_best_so_far(score, start, steps, rate):
    best = x = start.clone()
    for _ in range(steps):
        x = climb(lambda g: g / norm(g))(score, x, 1, rate)
        best = torch.where((score(x) > score(best)).view(-1, 1, 1, 1), x, best)
    return best


WRONG_CLIMBS = {
    "after 3 steps of length 2": the_best_so_far,
    "downhill": climb(lambda g: -g / norm(g)),
    "goes in as it is": climb(lambda g: g),
    "over the whole batch": climb(lambda g: g / g.norm()),
    "each colour's gradient": climb(lambda g: g / g.square().sum((2, 3), keepdim=True).sqrt()),
    "square of the length": climb(lambda g: g / norm(g) ** 2),
    "by the largest value": climb(lambda g: g / g.abs().amax(WHOLE, keepdim=True)),
    "sum of absolute values": climb(lambda g: g / g.abs().sum(WHOLE, keepdim=True)),
    "standard deviation": climb(lambda g: g / g.std(WHOLE, keepdim=True)),
    "sign alone": climb(torch.sign),
    "leave the range": climb(lambda g: g / norm(g), lambda x: x),
    "only once, at the end": cut_at_the_end,
    "black is 0": climb(lambda g: g / norm(g), lambda x: x.clamp(-1, 1)),
    "gradient of the start": frozen_slope,
    "one step and not all": lambda score, start, steps, rate: climb(lambda g: g / norm(g))(score, start, 1, rate),
    "one step too few": climb(lambda g: g / norm(g), more=-1),
    "one step too many": climb(lambda g: g / norm(g), more=1),
    "wrote into `start`": overwriting,
}


def spectrum(x, power=2, keep_mean=False):
    return torch.fft.fft2(x if keep_mean else x - x.mean((2, 3), keepdim=True)).abs() ** power


def frequencies(x):
    down, right = (torch.fft.fftfreq(side) for side in x.shape[2:])
    return torch.broadcast_tensors(down[:, None], right)


def share(fine, of=spectrum, over=WHOLE):
    def fine_share(x):
        power = of(x)
        return (power * fine(*frequencies(x))).sum(over) / power.sum(over)

    return fine_share


def length(down, right):
    return (down**2 + right**2).sqrt()


def fine(down, right):
    return length(down, right) > 0.25


def in_numpy(x):
    values = x.numpy() - x.numpy().mean((2, 3), keepdims=True)
    power = np.abs(np.fft.fft2(values)) ** 2
    down, right = np.fft.fftfreq(x.shape[2]), np.fft.fftfreq(x.shape[3])
    return (power * (np.hypot(down[:, None], right) > 0.25)).sum(WHOLE) / power.sum(WHOLE)


def zeroed(x):
    power = spectrum(x, keep_mean=True)
    power[..., 0, 0] = 0
    return (power * fine(*frequencies(x))).sum(WHOLE) / power.sum(WHOLE)


def with_halves(x):
    power = torch.fft.rfft2(x - x.mean((2, 3), keepdim=True)).abs() ** 2
    chosen = length(torch.fft.fftfreq(x.shape[2])[:, None], torch.fft.rfftfreq(x.shape[3])) > 0.25
    return (power * chosen).sum(WHOLE) / power.sum(WHOLE)


def over_the_batch(x):
    return (spectrum(x) * fine(*frequencies(x))).sum(WHOLE) / spectrum(x).sum()


def overwritten(x):
    x -= x.mean((2, 3), keepdim=True)
    return share(fine)(x)


def in_a_loop(x):
    return torch.stack([share(fine)(one[None])[0] for one in x]).tolist()


def without_root(x):
    return share(lambda d, r: d**2 + r**2 > 0.0625)(x)


RIGHT_SHARES = {
    "one formula": share(fine),
    "numpy": in_numpy,
    "the mean set to zero": zeroed,
    "one by one, a list": in_a_loop,
    "without a root": without_root,
}
WRONG_SHARES = {
    "mean of each colour counts": share(fine, lambda x: spectrum(x, keep_mean=True)),
    "you add up amplitudes": share(fine, lambda x: spectrum(x, 1)),
    "share of coarse detail": share(lambda d, r: ~fine(d, r)),
    "use > and not >=": share(lambda d, r: length(d, r) >= 0.25),
    "only waves up and down": share(lambda d, r: d.abs() > 0.25),
    "only waves left and right": share(lambda d, r: r.abs() > 0.25),
    "not as the larger of them": share(lambda d, r: torch.maximum(d.abs(), r.abs()) > 0.25),
    "not as their sum": share(lambda d, r: d.abs() + r.abs() > 0.25),
    "take its root": share(lambda d, r: d**2 + r**2 > 0.25),
    "beyond one half they are negative": share(lambda d, r: length(d % 1, r % 1) > 0.25),
    "negative frequencies are left out": share(lambda d, r: (d > 0.25) | (r > 0.25)),
    "counts in radians": share(lambda d, r: 2 * torch.pi * length(d, r) > 0.25),
    "some count half": with_halves,
    "you average the shares": lambda x: share(fine, over=(2, 3))(x).mean(1),
    "shares for each colour": share(fine, over=(2, 3)),
    "detail of the whole batch": over_the_batch,
    "one number for the whole batch": lambda x: over_the_batch(x).sum(),
    "the detail itself": lambda x: (spectrum(x) * fine(*frequencies(x))).sum(WHOLE),
    "wrote into `x`": overwritten,
}

ANSWERS = {
    "ascend": (RIGHT_CLIMBS, WRONG_CLIMBS),
    "fine_share": (RIGHT_SHARES, WRONG_SHARES),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    feature_visualisation, "feature_visualisation", ANSWERS
)
