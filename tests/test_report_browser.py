"""The report in a real browser: on a screen and on a phone, in light and dark, with nothing fetched.

It needs Chromium and playwright, and runs with COURSE_ALL=1 only. REPORT_SHOTS=folder keeps pictures.
"""

import os
import shutil
from pathlib import Path

import pytest

from helpers.data import shapes
from helpers.models import load_classifier
from helpers.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const c = rgb(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  return Math.min(...[...document.querySelectorAll("h1,h2,h3,p,li,b,small,td,th,figcaption")].map(one => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    return (a + .05) / (b + .05); }));
}"""

pytestmark = [
    pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="needs a browser; make test-all runs it"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not here"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(load_classifier("shapes_resnet"), list(shapes.one(4, 5).images), page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_is_readable(report, tmp_path, width, scheme):
    playwright = pytest.importorskip("playwright.sync_api")
    asked = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert page.title() == "Report on shapes_resnet"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.eval_on_selector_all(
            "img", "all => all.map(one => [one.naturalWidth, one.clientWidth, one.alt.length])"
        )
        assert len(sizes) == 16 and all(real > 100 and shown > 120 and words > 10 for real, shown, words in sizes)
        assert page.evaluate(CONTRAST) >= 4.5
        edges = page.eval_on_selector_all(
            ".verdict",
            "all => all.map(one => [one, one.firstChild].map((e, i) => getComputedStyle(e)[i ? 'color' : "
            "'borderLeftColor']))",
        )
        assert all(edge == words for edge, words in edges)  # green, red or yellow as what was found
        assert page.locator(".verdict").count() == 3 and page.locator(".checks section").count() == 5
        shots = Path(os.environ.get("REPORT_SHOTS", tmp_path))
        shots.mkdir(exist_ok=True, parents=True)
        page.screenshot(path=str(shots / f"report_{width}_{scheme}.png"), full_page=True)
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
