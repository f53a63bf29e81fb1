"""Words in colours and as bars: what is said, in which colour, also without colours, and what is refused."""

import re

import numpy as np
import pytest
import torch

from helpers import plotting
from helpers.plotting.text import ColouredText

TEXT = "the plot is not dull .".split()
VALUES = torch.tensor([0.0, 0.02, -1.0, 0.5, 2.0, -0.2, 9.0])  # one more than words: padding
MARKS = torch.tensor([False, False, False, True, True, False, False])


def spans(shown):
    """Each coloured word with its background."""
    found = re.findall(r'<span style="background-color:(#\w{6});[^"]*">(.*?)</span>', shown.html.split("<p><small>")[0])
    return {re.sub(r"<.*?>", "", word): colour for colour, word in found}


def light(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def luminance(colour):
    """As the rules for the contrast of web pages have it."""
    linear = [c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in light(colour))]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


def test_red_for_and_blue_against_and_none_for_next_to_nothing():
    colours = spans(plotting.coloured_text([TEXT], [VALUES], marks=[MARKS]))
    assert set(colours) == {"is", "not", "dull", "."}
    red, blue = light(colours["dull"]), light(colours["is"])
    assert red[0] > red[2] + 60 and blue[2] > blue[0] + 60
    strengths = [max(light(colours[word])) - min(light(colours[word])) for word in ("not", "dull")]
    assert strengths[0] < strengths[1]


def test_everything_is_said_without_colours_too():
    shown = plotting.coloured_text([TEXT], [VALUES], ["a review"], marks=[MARKS])
    assert repr(shown) == shown.text == "a review: the plot is(-1) _not_(+0.5) _dull_(+2).(-0.2)"
    assert shown._repr_mimebundle_() == {"text/html": shown.html, "text/plain": shown.text}
    assert "<b><u>dull</u></b>" in shown.html and "<u>not</u>" in shown.html and "<b>is</b>" in shown.html
    assert "<b><u>not" not in shown.html and "known to count" in shown.html and "against −2.00" in shown.html
    assert ">dull</u></b></span><span" in shown.html, "no gap before a full stop"


def test_one_scale_for_all_texts():
    alone = spans(plotting.coloured_text([TEXT], [VALUES / 4]))
    together = spans(plotting.coloured_text([TEXT, ["witty"]], [VALUES / 4, torch.tensor([4.0])]))
    assert alone["dull"] == spans(plotting.coloured_text([TEXT], [VALUES]))["dull"] != together["dull"]


def test_padding_counts_for_nothing_and_a_batch_is_a_list():
    batch = torch.stack([VALUES, VALUES])
    shown = plotting.coloured_text([TEXT, TEXT[:2]], batch)
    assert shown.html == plotting.coloured_text([TEXT, TEXT[:2]], [VALUES.numpy(), [0, 0.02]]).html
    assert "−2.00" in shown.html and "9" not in re.sub(r"#\w{6}|\d\.\d+em|1\.9", "", shown.html.split("<small>")[1])


def test_zeros_have_no_scale():
    shown = plotting.coloured_text([TEXT], [torch.zeros(6)], marks=[MARKS[:6]])
    assert "against" not in shown.html and "known to count" in shown.html and not spans(shown)
    assert "<small>" not in plotting.coloured_text([TEXT], [torch.zeros(6)]).html


def test_words_are_no_markup():
    shown = plotting.coloured_text([["<script>", "&", "b"]], [[1.0, 0.0, 0.5]], ["<i>"])
    assert "<script>" not in shown.html and "&lt;script&gt;" in shown.html and "&lt;i&gt;" in shown.html
    assert "<script>(+1) &" in shown.text


def test_ink_can_be_read_on_every_colour():
    steps = np.linspace(-1, 1, 21)
    shown = plotting.coloured_text([[f"w{i}" for i in range(21)]], [steps])
    for back, ink in re.findall(r"background-color:(#\w{6});color:(#\w{6})", shown.html):
        lights = sorted(luminance(colour) for colour in (back, ink))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (back, ink)


def test_bars_stand_at_their_words_and_the_marked_ones_are_strong():
    figure = plotting.word_bars(TEXT, {"one": VALUES, "two": -VALUES}, mark=MARKS)
    first, second = figure.axes
    heights = [bar.get_height() for bar in first.patches]
    assert heights == pytest.approx(VALUES[:6].tolist()) and first.get_ylim() == second.get_ylim()
    assert [label.get_text() for label in second.get_xticklabels()] == TEXT
    assert [label.get_weight() for label in second.get_xticklabels()] == ["normal"] * 3 + ["bold"] * 2 + ["normal"]
    alphas = [bar.get_alpha() for bar in first.patches]
    assert alphas[3] == alphas[4] == 1 and max(alphas[:3]) < 0.6
    assert first.patches[2].get_facecolor()[:3] != first.patches[4].get_facecolor()[:3]
    assert figure.alt.startswith("Bars over the words") and "one: highest at 'dull', 'not'" in figure.alt
    assert len(plotting.word_bars(TEXT, {"one": np.zeros(6)}).axes) == 1


@pytest.mark.parametrize(
    ("texts", "maps", "options", "message"),
    [
        ([], [], {}, "one or more"),
        ([TEXT], [VALUES, VALUES], {}, "2 entries for 1 texts"),
        ([TEXT], [VALUES[:3]], {}, r"one value for each of 6 words; got \[3\]"),
        ([TEXT], [VALUES[None]], {}, r"got \[1, 7\]"),
        (["the plot"], [VALUES], {}, "one string"),
        ([[]], [VALUES], {}, "empty"),
        ([TEXT], [VALUES * torch.nan], {}, "NaN"),
        ([TEXT], [VALUES], {"titles": ["a", "b"]}, "2 titles for 1 texts"),
        ([TEXT], [VALUES], {"marks": [MARKS[:2]]}, "marks needs one value"),
    ],
)
def test_what_is_refused(texts, maps, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.coloured_text(texts, maps, **options)


def test_bars_without_a_map_or_a_word_are_refused():
    for text, maps in ((TEXT, {}), ([], {"one": VALUES})):
        with pytest.raises(ValueError, match="nothing to draw"):
            plotting.word_bars(text, maps)
    with pytest.raises(ValueError, match="needs one value"):
        plotting.word_bars(TEXT, {"one": VALUES[:2]})


def test_it_shows_itself():
    assert isinstance(plotting.coloured_text([TEXT], [VALUES]), ColouredText)
