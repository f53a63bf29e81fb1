"""What docs/accessibility.md says of the course is measured here, and is so."""

import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from helpers import plotting
from helpers.course import ROOT
from helpers.plotting.images import lay_over
from helpers.plotting.style import COLOURS, HEAT, INK, SIGNED, SOFT

PAGE = (ROOT / "docs" / "accessibility.md").read_text(encoding="utf-8")
PLAYGROUND = ROOT / "tools" / "playground" / "page"
WAYS = {  # how colours look with a deficiency of its full strength: Machado, Oliveira and Fernandes (2009), linear RGB
    "as it is": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SCALE = np.linspace(0, 1, 33)  # coarser than the 256 colours of a map, two of which may be the same over a picture
MINUS = "\N{MINUS SIGN}"


def linear(rgb):
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(rgb, way):
    """Colours [N, 3] as somebody with a deficiency sees them."""
    mixed = (linear(rgb) @ np.asarray(WAYS[way]).T).clip(0, 1)
    return np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)


def lab(rgb):
    from skimage.color import rgb2lab

    return rgb2lab(np.asarray(rgb, float)[None])[0]


def contrast(one, other):
    """The contrast of two colours as WCAG 2 defines it, from 1 to 21."""
    light, dark = sorted((float(linear(to_rgb(c)) @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def row(name):
    """The values of a row of the page's tables."""
    found = re.search(rf"^\| {re.escape(name)} \| (.+) \|$", PAGE, re.M)
    assert found, f"docs/accessibility.md has no row {name}"
    return [float(one.replace(MINUS, "-")) for one in re.findall(rf"[-{MINUS}]?\d+(?:\.\d+)?", found[1])]


def over_grey(name):
    return lay_over(np.full((1, len(SCALE)), 0.45), SCALE[None], name)[0]


def test_the_scale_without_a_sign_becomes_lighter_step_by_step_for_everybody():
    for way in WAYS:
        lightness = lab(seen(mpl.colormaps[HEAT](np.arange(256))[:, :3], way))[:, 0]
        assert (np.diff(lightness) > 0).all(), way
        assert row(f"`{HEAT}`, lightness at its ends, {way}") == [round(lightness[0]), round(lightness[-1])]
    jet = lab(mpl.colormaps["jet"](SCALE)[:, :3])[:, 0]
    assert (np.diff(jet) < 0).any(), "the test can fail: a rainbow becomes darker again"


def test_over_a_picture_it_becomes_lighter_from_a_quarter_of_the_scale_on():
    lightness = lab(over_grey(HEAT))[:, 0]
    assert (np.diff(lightness[len(SCALE) // 4 :]) > 0).all() and np.diff(lightness).min() < 0
    assert row(f"`{HEAT}` over grey, lightness at zero, lowest, at the top") == [
        round(value) for value in (lightness[0], lightness.min(), lightness[-1])
    ]


def test_the_signs_differ_for_everybody_and_not_in_grey():
    colours = mpl.colormaps[SIGNED](SCALE)[:, :3]
    for way in WAYS:
        apart = np.linalg.norm(lab(seen(colours, way)) - lab(seen(colours, way))[::-1], axis=1)
        half, quarter = apart[len(SCALE) // 4], apart[3 * len(SCALE) // 8]
        assert row(f"`{SIGNED}`, distance of the signs at half and at a quarter, {way}") == [
            round(half),
            round(quarter),
        ]
        assert half > 20, way
    lightness = lab(colours)[:, 0]
    assert row(f"`{SIGNED}`, largest difference in lightness between the signs") == [
        round(np.abs(lightness - lightness[::-1]).max(), 1)
    ]


def test_the_contrast_of_words_and_lines_on_white():
    for name, colour in (("words", INK), ("numbers below panels", SOFT)):
        assert row(f"{name}, `{colour}`") == [round(contrast(colour, "white"), 1)] and contrast(colour, "white") > 4.5
    for number, colour in enumerate(COLOURS, 1):
        assert row(f"line {number}, `{colour}`") == [round(contrast(colour, "white"), 1)]
    enough = [contrast(colour, "white") >= 3 for colour in COLOURS]
    assert enough == [True, True, True, True, False, False] and "first four" in PAGE
    assert contrast("black", "white") == pytest.approx(21)


def test_a_figure_has_words_and_a_cell_can_show_them():
    figure = plotting.grid([torch.rand(4, 4)], ["a map"], alt="What is drawn.")
    assert figure.alt == "What is drawn." and "`_.alt`" in PAGE
    without = plotting.grid([torch.rand(4, 4)], ["a map"])
    assert "a map" in without.alt, "made from the titles"


def test_jupyterlab_does_not_pass_the_words_on():
    """If this fails, JupyterLab has learnt it: change the page, and this test."""
    import jupyterlab

    static = ROOT.__class__(jupyterlab.__file__).parent / "static"
    scripts = [path for path in static.glob("*.js") if "needs_background" in path.read_text(encoding="utf-8")]
    assert scripts, "the code that draws pictures is not where it was"
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        around = text[text.index("needs_background") - 400 :][:600]
        assert "unconfined" in around and "alt" not in re.findall(r"\b\w+(?=:)", around)


def test_keys_and_motion_of_the_playground_are_those_of_the_page():
    maps, page, css = (
        (PLAYGROUND / name).read_text(encoding="utf-8") for name in ("maps.js", "index.html", "playground.css")
    )
    keys = re.search(r"const KEYS = \{(.*?)\};", maps)[1]
    assert {"ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"} == set(re.findall(r"Arrow\w+", keys))
    assert "side) / 32" in maps and "a thirty-second" in PAGE
    assert 'class="picture" tabindex="0"' in page and "Without a mouse, choose a sample" in page
    assert css.count("scroll-behavior") == 1 and "(prefers-reduced-motion: no-preference) { html" in css
    assert not re.search(r"@keyframes|\banimation\b|\btransition\b", css)


def test_slides_do_not_move_and_the_site_leaves_the_arrow_keys_alone():
    assert 'transition: "none"' in (ROOT / "tools" / "slides.py").read_text(encoding="utf-8")
    settings = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    assert '"navigation_with_keys": False' in settings
    assert "a11y-high-contrast-light" in settings and "a11y-high-contrast-dark" in settings


def test_the_explorer_names_its_controls_and_keeps_keys_to_itself():
    code = (ROOT / "helpers" / "explorer" / "browser.js").read_text(encoding="utf-8")
    for words in ("aria-label", 'setAttribute("aria-live", "polite")', "data-lm-suppress-shortcuts", "stopPropagation"):
        assert words in code


def test_colours_of_words_are_said_twice():
    shown = plotting.coloured_text([["a", "witty", "film"]], [[0.0, 2.0, -0.1]], marks=[[False, True, False]])
    assert re.search(r"<b>|font-weight", shown.html) and re.search(r"<u>|underline", shown.html)


def test_tests_that_the_page_names_exist():
    for name, test in re.findall(r"`tests/(\w+\.py)::(\w+)`", PAGE):
        assert f"def {test}(" in (ROOT / "tests" / name).read_text(encoding="utf-8"), test
    assert len(re.findall(r"`tests/\w+\.py::", PAGE)) >= 5
