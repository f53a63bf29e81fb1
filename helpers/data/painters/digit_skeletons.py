"""The pen tracks of the ten digits: for each digit one short function that draws a random way of writing it.

A track is a list of strokes (the pen is lifted between them), a stroke a list of parts (smooth curves that
meet in corners), a part a list of points (x, y). The digit stands between y = 0 (top) and y = 1 (bottom),
about x = 0. A part after the first starts where the one before it ended, so it does not repeat that point.
The numbers come from looking at how people write, and at which real digits a network trained on these got wrong.
"""

import numpy as np
from numpy.random import Generator

Track = list[list[list]]


def zero(rng: Generator) -> Track:
    """An oval, closed more or less well, at times with a curl where the pen set down."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide = u(0.2, 0.56) if p() < 0.88 else u(0.5, 0.8)
    turns = np.clip(n(1.01, 0.08), 0.84, 1.25) if p() < 0.93 else u(1.1, 1.6)
    t = np.linspace(0, 1, 11)
    angle = np.radians(n(-70, 35)) - (1 if p() < 0.85 else -1) * t * turns * 2 * np.pi
    radius = 1 + n(0, 0.08) * (1 - t) + n(0, 0.15) * t
    square, egg, tilt = u(0.85, 1.15), n(0, 0.1), np.radians(n(8, 11))
    x, y = np.cos(angle), np.sin(angle)
    x, y = (wide * radius * np.sign(v) * abs(v) ** square for v in (x, y))
    x, y = x * (1 + egg * y / wide), y * 0.5 / wide
    x, y = x * np.cos(tilt) - y * np.sin(tilt), 0.5 + x * np.sin(tilt) + y * np.cos(tilt)
    oval = list(zip(x, y, strict=True))
    if p() < 0.17:
        oval.insert(0, (oval[0][0] + u(-0.15, 0.3), oval[0][1] + u(-0.15, 0.03)))
    if p() < 0.17:
        oval.append((oval[-1][0] + u(-0.2, 0.35), oval[-1][1] + u(-0.12, 0.12)))
    return [[oval]]


def one(rng: Generator) -> Track:
    """A stem; one in five has a flag, a foot, or both."""
    u, n, p = rng.uniform, rng.normal, rng.random
    stem = [(0, 0), (n(0, 0.035), 0.5), (0, 1)]
    kind = p()
    if kind < 0.77:
        return [[stem]]
    flag = [(-u(0.08, 0.38), u(0.06, 0.34)), (0, 0)]
    foot = u(0.12, 0.42)
    base = [(-foot, 1 + n(0, 0.03)), (foot * u(0.6, 1.3), 1 + n(0, 0.03))]
    if kind < 0.9:
        return [[flag, stem[1:]]]
    return [[stem], [base]] if kind < 0.915 else [[flag, stem[1:]], [base]]


def two(rng: Generator) -> Track:
    """An arch, a diagonal, and a base that begins in a corner, a round turn or a loop."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide = u(0.2, 0.42)
    left = -wide * u(0.5, 1.2)
    foot, low, right = -wide * u(0.6, 1.4), u(0.8, 1.0), wide * u(0.3, 2.3)
    end = (right, low + n(0.02, 0.1)) if p() < 0.93 else (right * 1.4, low - u(0.15, 0.45))
    base = [((foot + right) / 2, (low + end[1]) / 2 + n(-0.01, 0.05)), end]
    entry = rng.choice(5, p=(0.56, 0.18, 0.14, 0.06, 0.06))
    start = [
        [(left, u(0.08, 0.36)), (left + wide * u(0.15, 0.5), u(0, 0.1))],
        [(left + wide * u(0.2, 0.9), u(0.22, 0.46)), (left, u(0.12, 0.28)), (left + wide / 2, u(0, 0.06))],
        [(left + wide * u(0.5, 1.1), u(0.3, 0.5)), (left + wide * u(0.05, 0.4), u(0.36, 0.5))]
        + [(left, u(0.15, 0.28)), (left + wide / 2, u(0, 0.06))],
        [(left + wide / 2, u(0, 0.06))],
        [(left, u(-0.02, 0.1))],
    ][entry]
    kind = p()
    if kind < 0.13:
        top = [(left * u(0.3, 1), u(-0.02, 0.12)), (wide * u(0.1, 1), n(0, 0.04))]
        return [[top, [(foot, low)], base]]
    arch = [*start, (wide * u(0, 0.3), 0), (wide * u(0.7, 1), u(0.1, 0.22))]
    arch += [(wide * u(0.6, 1), u(0.3, 0.48)), (wide * u(-0.1, 0.4), u(0.55, 0.72))]
    if kind < 0.32:  # a round 2 with a wide loop
        loop = u(0.15, 0.5)
        curve = [*arch[:-1], (wide * u(0.2, 0.7), u(0.68, 0.8)), (-wide * u(0.4, 0.9), u(0.87, 1))]
        curve += [(-wide * u(0.9, 1.25), 1 - loop * 0.6), (-wide * u(0.2, 0.7), 1 - loop)]
        curve.append((wide * u(0.1, 0.5), 1 - loop * u(0.5, 0.9)))
        return [[[*curve, (wide * u(0.5, 1.6), u(0.82, 1.05))]]]
    if kind < 0.53:
        return [[[*arch, (foot, low)], base]]
    if kind < 0.65:
        return [[[*arch, (foot * 0.9, low - 0.08), (foot * 0.7, low), *base]]]
    tall, long = u(0.08, 0.48), u(0.2, 0.9)
    loop = [(foot * 0.5, low - 0.06), (foot * 0.95, low), (foot * 1.1 - tall * 0.2, low - tall * 0.55)]
    loop += [(foot * 0.6 + tall * 0.1, low - tall), (foot * 0.1 + tall * long, low - tall * 0.4)]
    return [[[*arch, *loop, (foot * 0.1 + right / 2, low / 2 + max(low, end[1]) / 2 - 0.03), end]]]


def three(rng: Generator) -> Track:
    """Two bowls that meet at a waist: a corner, a small loop or a smooth bend; the top may be flat."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide, waist, inset = u(0.18, 0.44), u(0.32, 0.55), u(-0.24, 0.24)
    low = wide * u(0.55, 1.4)
    bowl = [(low * u(0.4, 0.7), waist + u(-0.02, 0.1)), (low * u(0.85, 1.1), u(0.62, 0.78))]
    bowl += [(low * u(0.3, 0.7), u(0.9, 0.99)), (-low * u(-0.1, 0.4), u(0.97, 1.03))]
    tail = p()
    if tail < 0.68:
        bowl.append((-low * u(0.4, 1.5), u(0.74, 1)))
    elif tail < 0.87:
        bowl += [(-low * u(0.8, 1.2), u(0.9, 0.98)), (-low * u(0.6, 1.4), u(0.72, 0.88))]
    left, kind = -wide * u(0.3, 1.3), p()
    if kind < 0.2:
        return [[[(left, n(0.03, 0.04)), (wide * u(0.6, 1.1), n(0, 0.04))], [(inset, waist)], bowl]]
    if p() < 0.83:
        top = [(left, u(0.03, 0.28)), (left * 0.5, u(0, 0.06))]
    else:
        top = [(left * u(0, 0.6), u(0.18, 0.3)), (left * u(0.9, 1.2), u(0.1, 0.2)), (left * 0.5, u(0, 0.06))]
    top += [(wide * u(0.1, 0.4), 0), (wide * u(0.7, 1), u(0.1, 0.22))]
    top.append((wide * u(0.3, 0.8), waist * u(0.62, 0.9)))
    if kind < 0.43:
        size = u(0.04, 0.16)
        loop = [(inset - size, waist + u(-0.02, 0.04)), (inset - size * 0.8, waist + size * 0.6)]
        return [[top + loop + [(inset + size / 2, waist + size * 0.3)] + bowl[1:]]]
    if kind < 0.62:
        return [[[*top, (max(inset, 0) + wide * u(0.1, 0.5), waist), *bowl[1:]]]]
    return [[[*top, (inset, waist)], bowl]]


def four(rng: Generator) -> Track:
    """A stem, and to its left an open angle, an open bowl or a closed triangle."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide, bar = u(0.18, 0.4), u(0.4, 0.78)
    x, lean, kind = wide * u(0.2, 1), n(0, 0.06), p()
    foot = (x + n(-0.03, 0.05) - lean, 1)
    stem = [(x + n(0, 0.03) + lean, u(-0.05, 0.3)), (x + n(0, 0.02), 0.5), foot]
    end = (wide * u(0.9, 2.1), bar + n(-0.03, 0.07))
    corner = (-wide * 1.1, bar)
    if kind < 0.27:
        side = [(-wide * u(0.3, 1.1), u(0, 0.12)), (-wide + n(0, 0.03), bar * 0.6), corner]
        return [[side if p() < 0.6 else [side[0], corner], [end]], [stem]]
    if kind < 0.6:
        bowl = [(-wide * u(0.5, 1.2), u(0, 0.14)), (-wide * u(0.9, 1.2), bar * 0.6)]
        bowl += [(-wide * u(0.6, 0.9), bar * 0.97), (0, bar), (x, bar * u(0.6, 0.97))]
        ending = p()
        if ending < 0.35:
            return [[[*bowl, end]], [stem]]
        if ending < 0.6:
            return [[[*bowl, (x + 0.02, stem[0][1] + 0.03)], stem[1:]]]
        return [[bowl], [stem]]
    top = (x + n(0, 0.05), 0)
    stem[0] = top if p() < 0.7 else (x, u(0, 0.3))
    if p() < 0.12:
        loop = [top, (-wide * 0.5, bar * 0.35), (-wide, bar * 0.8), (-wide * 0.5, bar)]
        return [[[*loop, (end[0] * 0.6, bar * u(0.85, 1)), end]], [stem]]
    return [[[top, (-wide * 0.4 + n(0, 0.03), bar * 0.55), corner], [end]], [stem]]


def five(rng: Generator) -> Track:
    """A neck, a bowl, and a bar on top, written in one stroke or two."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide, waist = u(0.16, 0.42), u(0.28, 0.54)
    x, y = -wide * u(0.2, 1), u(-0.02, 0.08)
    neck = (x + n(-0.04, 0.065), waist)
    bowl = [(wide * u(0.1, 0.5), waist - u(-0.04, 0.09)), (wide * u(0.85, 1.3), u(0.58, 0.76))]
    bowl += [(wide * u(0.2, 0.7), u(0.88, 0.98)), (-wide * u(0.1, 0.5), 1)]
    if p() < 0.72:
        bowl.append((-wide * u(0.5, 1.7), u(0.76, 1)))
    else:
        bowl += [(-wide * u(0.6, 1.2), u(0.8, 0.95)), (-wide * u(0.3, 1), u(0.6, 0.8))]
    start, end = (x + n(0, 0.05), y + n(0, 0.03)), (x + wide * u(0.9, 3.2), y + n(-0.06, 0.1))
    bar = [start, ((x + end[0]) / 2, (y + end[1]) / 2 + n(0, 0.025)), end]
    kind = p()
    if kind < 0.2:
        return [[[*bar[::-1], ((x + neck[0]) / 2 - 0.02, waist * 0.6), *bowl]]]
    if kind < 0.35:
        return [[bar[::-1], [neck], bowl]]
    if kind < 0.5:
        return [[[(x, y), (neck[0] - 0.02, waist * 0.8), *bowl]], [bar]]
    if p() < 0.4:
        right, down = u(-0.02, 0.12), n(0, 0.03)
        bar = [(a + right, b + down) for a, b in bar]
    return [[[(x, y), neck], bowl], [bar]]


def six(rng: Generator) -> Track:
    """A stem that sweeps down into a loop; the loop stays open, closes or overshoots."""
    u, n, p = rng.uniform, rng.normal, rng.random
    top = u(0.34, 0.68) if p() < 0.87 else u(0.6, 0.82)
    wide = u(0.15, 0.34 + 0.18 * (top > 0.42))
    x = u(-0.3, 0.45)
    left, tall = -wide * u(0.8, 1.1), 1 - top
    if p() < 0.75:
        stem = [(x, 0), (x * 0.3 + left * 0.7 + n(0, 0.04), u(0.16, 0.34)), (left, u(0.48, 0.66))]
    else:
        stem = [(x, 0), ((x + left) / 2 + n(0, 0.03), 0.3), (left, u(0.55, 0.7))]
    if p() < 0.1:
        stem.insert(0, (x + u(0.05, 0.2), u(0.03, 0.15)))
    loop = [(-wide * u(0.5, 0.8), u(0.85, 0.94)), (wide * u(-0.1, 0.15), 1)]
    bulge = wide * (u(0.75, 1) if p() < 0.7 else u(1, 1.6))
    loop += [(bulge, top + tall * u(0.5, 0.85)), (bulge * u(0.75, 1), top + tall * 0.25)]
    if p() < 0.22:  # the loop stays narrow and runs out below, as a spiral does
        loop += [(wide * u(-0.2, 0.4), top + tall * u(0.25, 0.5)), (wide * u(-0.5, 0.25), u(0.85, 1.1))]
        return [[stem + loop]]
    loop += [(bulge - wide * u(0.6, 1), top), (-wide * u(0.1, 0.6), top + u(0.02, 0.15))]
    ending = p()
    if ending > 0.2:
        loop.append((-wide * u(0.2, 1.3), top + tall * u(0.3, 0.75)))
    if ending > 0.72:
        loop.append((-wide * u(-0.3, 0.6), u(0.85, 1.02)))
    return [[stem + loop]]


def seven(rng: Generator) -> Track:
    """A bar and a diagonal, with a serif on the left and a crossing stroke for some writers."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide = u(0.16, 0.42)
    left, right = (-wide * u(0.7, 1.3), n(0.06, 0.08)), (wide * u(0.8, 1.1), n(0, 0.04))
    foot = u(-wide * 1.1, wide)
    down = [((right[0] + foot) / 2 + n(0, 0.06), 0.45 + n(0, 0.04)), (foot, 1)]
    middle = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2 + n(0, 0.05))
    serif = p() < 0.35
    start = [[(left[0] + n(-0.01, 0.05), left[1] + u(0.06, 0.38)), left]] if serif else []
    bar = [middle] if serif else [left, middle]
    if p() < 0.35:
        track = [[*start, [*bar, (right[0] - 0.02, right[1] + 0.03), *down]]]
    else:
        track = [[*start, [*bar, right], down]]
    if p() < 0.22:
        y = u(0.35, 0.68)
        x = np.interp(y, [right[1], down[0][1], 1], [right[0], down[0][0], foot])
        track.append([[(x - u(0.1, 0.4), y + n(0.03, 0.06)), (x + u(0.1, 0.4), y + n(-0.03, 0.06))]])
    return track


def eight(rng: Generator) -> Track:
    """An S that climbs back to its start, two crossing diagonals, or two rings."""
    u, n, p = rng.uniform, rng.normal, rng.random
    wide, low, waist = u(0.15, 0.38), u(0.07, 0.4), u(0.34, 0.6)
    mid, off, kind = n(0, 0.05), n(0, 0.05), p()
    deep = 1 - waist
    if kind < 0.62:
        start = (wide * u(0.2, 1.5), u(-0.02, 0.26))
        hook = [(start[0] * 0.6, min(start[1], 0.06) * u(0, 1))] if p() < 0.3 else []
        track = [start, *hook, (wide * n(-0.1, 0.2), 0), (-wide * u(0.8, 1.1), waist * u(0.3, 0.6))]
        track += [(mid - wide * 0.1, waist), (low * u(0.8, 1.1) + off, waist + deep * u(0.35, 0.65))]
        track.append((off, 1))
        track += [(-low * u(0.8, 1.1) + off, waist + deep * u(0.35, 0.7)), (mid, waist + n(0.02, 0.03))]
        track += [(wide * u(0.75, 1.05), u(0.16, 0.34))] if p() < 0.55 else []
        track.append((wide * u(0.2, 1.6), u(-0.1, 0.22) if p() < 0.8 else u(0.2, 0.4)))
        return [[[(-x, y) for x, y in track] if p() < 0.2 else track]]
    if kind < 0.74:
        start = (wide * u(0.4, 1.5), u(0, 0.26))
        curve = [start, (wide * n(-0.1, 0.2), 0), (-wide * u(0.8, 1.1), waist * u(0.4, 0.6))]
        curve += [(mid, waist), (low + off, waist + deep * u(0.4, 0.65)), (off / 2, 1)]
        curve.append((-low + off, waist + deep * u(0.5, 0.85)))
        return [[curve, [(start[0] + n(0, 0.06), u(-0.05, 0.15))]]]
    if kind < 0.86:
        cap = u(0, 0.12)
        closed = p() < 0.8
        low = low if closed else max(low, 0.2)
        right, left = (low + off, 1 - u(0, 0.15)), (off - low, 1 - u(0, 0.15))
        if not closed:
            return [[[left, (mid, waist), (wide, cap), (n(0, 0.05), 0), (-wide, cap), (mid, waist), right]]]
        track = [(-wide, cap), (mid, waist), right, (off, 1 + u(-0.02, 0.05))]
        track += [left, (mid, waist + 0.02), (wide, cap + n(0, 0.03))]
        if p() < 0.8:
            track += [(n(0, 0.05), -u(0, 0.05)), (-wide * u(0.6, 1.1), cap + n(0, 0.03))]
        return [[track]]
    angle = np.linspace(0, 2 * np.pi * u(0.93, 1.1), 9) - np.pi / 2 + n(0, 0.5)
    x, y = np.cos(angle), (1 + np.sin(angle)) / 2
    return [
        [list(zip(wide * x, waist * y, strict=True))],
        [list(zip(low * x + off, waist + deep * y, strict=True))],
    ]


def nine(rng: Generator) -> Track:
    """A loop, and a stem that is straight, bends or ends in a hook."""
    u, n, p = rng.uniform, rng.normal, rng.random
    tall = u(0.3, 0.6) if p() < 0.8 else u(0.55, 0.83)
    wide = u(0.13, 0.42) if tall < 0.5 else u(0.22, 0.54)
    right = wide * u(0.75, 1.1)
    foot = n(right - 0.1, 0.14)
    loop = [(wide * (u(0.3, 1.1) if p() < 0.82 else u(-0.1, 0.3)), u(0, 0.22))]
    loop += [(wide * n(-0.1, 0.2), u(-0.02, 0.05)), (-wide * u(0.8, 1.1), tall * u(0.4, 0.6))]
    loop += [(-wide * u(0.1, 0.5), tall), (wide * u(0.3, 0.7), tall * u(0.65, 0.95))]
    stem = [((right + foot) / 2 + n(0.01, 0.035), 0.55 + n(0, 0.04)), (foot, 1)]
    if p() < 0.33:
        stem[-1:] = [(foot + 0.04, u(0.86, 0.95)), (foot - u(0.05, 0.2), 1)]
        if p() < 0.5:
            stem.append((foot - u(0.25, 0.65), u(0.78, 0.98)))
    if p() < 0.14:
        stem.append((stem[-1][0] + u(0.05, 0.25), stem[-1][1] - u(0.02, 0.08)))
    kind = p()
    if kind < 0.2:
        stem.insert(0, (right + n(0.02, 0.03), u(-0.05, 0.2)))
        return [[[*loop, (right, tall * u(0.1, 0.6)), (wide / 2, 0)]], [stem]]
    if kind < 0.35:
        return [[[*loop, (right, tall * 0.35), *stem]]]
    return [[[*loop, (right, tall * u(-0.1, 0.6))], stem]]


SKELETONS = (zero, one, two, three, four, five, six, seven, eight, nine)
