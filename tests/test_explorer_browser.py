"""The explorer in a real browser: JupyterLab on this machine, the notebook run, its controls used as a reader would.

It needs Chromium and playwright, and runs with COURSE_ALL=1 only; a minute. EXPLORER_SHOTS=folder keeps pictures. All
tests use one page, one after the other.
"""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.course import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
BOX, WORDS = ".course-explorer", '[role="status"]'
PICTURE, MAP = 'img[alt^="The picture"]', 'img[alt^="The map"]'
LISTS = ("network", "picture", "class", "method", "beside it", "layer")
PATIENCE = int(os.environ.get("EXPLORER_PATIENCE", "240"))  # seconds: a busy machine imports torch slowly
CONTRAST = """box => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const own = one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  return [...box.querySelectorAll("*")].filter(one => own(one) && one.checkVisibility({visibilityProperty: true}))
    .filter(one => one.tagName !== "OPTION" || one.selected).map(one => {
      const below = ground(one), [r, g, b, alpha = 1] = channels(getComputedStyle(one).color);
      const front = [r, g, b].map((v, i) => alpha * v + (1 - alpha) * below[i]);
      const [dark, bright] = [light(front), light(below)].sort((a, b) => a - b);
      return [(bright + 0.05) / (dark + 0.05), one.textContent.trim().slice(0, 40)];
    });
}"""

pytestmark = [
    pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="needs a browser; make test-all runs it"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebook, which finds the course by a link beside it."""
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "tools").mkdir()
    (folder / "helpers").symlink_to(ROOT / "helpers")
    shutil.copyfile(ROOT / "tools" / "explore.ipynb", folder / "tools" / "explore.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    """The address of JupyterLab over the notebook."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"--IdentityProvider.token=": "", "--ServerApp.ip=": "127.0.0.1", "--ServerApp.port=": port}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"{name}{value}" for name, value in options.items()]
    variables = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config"), "OMP_NUM_THREADS": "1"}
    with (folder / "lab.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api"), "JupyterLab")
        yield f"http://127.0.0.1:{port}/lab/tree/tools/explore.ipynb?reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture(scope="module")
def page(lab, folder):
    """A page in Chromium in which all cells of the notebook have run."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("anywidget")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=CHROMIUM,
            args=QUIET,
            viewport={"width": 1280, "height": 1000},
            timeout=1000 * PATIENCE,
        )
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(lab)
        page.wait_for_selector(".jp-Notebook")
        page.wait_for_selector("text=| Idle")  # before, a cell to be run is forgotten
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_selector(MAP)
        page.wait_for_selector(f"{BOX}[data-lm-suppress-shortcuts]")
        page.locator(BOX).scroll_into_view_if_needed()
        yield page
        browser.close()


@pytest.fixture(scope="module")
def shots(folder):
    shots = Path(os.environ.get("EXPLORER_SHOTS", folder))
    shots.mkdir(exist_ok=True, parents=True)
    return shots


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=2)
    except OSError:
        return False
    return True


def wait_for(ready, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} did not come in {seconds} s"
        time.sleep(0.2)


def said(page):
    """All that the explorer says."""
    return page.locator(BOX).inner_text()


def sources(page):
    """The pictures and maps on the page."""
    return page.locator(f"{BOX} {PICTURE}, {BOX} {MAP}").evaluate_all("all => all.map(one => one.src)")


def control(page, label):
    """A list of the explorer, by its label: what a screen reader calls it."""
    return page.locator(BOX).get_by_label(label, exact=True)


def choose(page, **options):
    """Choose from lists, by their labels, and wait for the answer: it says last how long each method took."""
    for label, option in options.items():
        before = said(page)
        control(page, label.replace("_", " ")).select_option(option)
        wait_for(lambda before=before: said(page) != before and " took " in said(page), f"{label} {option}")
        time.sleep(1)  # the words come behind the pictures


def settle(page, label, option):
    """Choose from a list what may be chosen already."""
    if control(page, label).input_value() != option:
        choose(page, **{label: option})


def upload(page, file):
    with page.expect_file_chooser() as chooser:
        page.locator(BOX).get_by_role("button", name="your own picture").click()
    chooser.value.set_files(file)


def saved_cells(page, folder):
    """Kinds and texts of the notebook's cells, as JupyterLab saves them."""
    file = folder / "tools" / "explore.ipynb"
    before = file.stat().st_mtime_ns
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_text("Save Notebook", exact=True).click()
    wait_for(lambda: file.stat().st_mtime_ns != before, "the saved notebook")
    time.sleep(0.5)
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def test_photographs_and_the_real_network_come_first(page, shots):
    wait_for(lambda: "grad_cam took" in said(page) and "mean of maps took" in said(page), "the first answer")
    page.screenshot(path=str(shots / "explorer_1_open.png"))
    assert control(page, "network").input_value() == "efficientnet_lite0"
    assert control(page, "picture").input_value() == "a cup of coffee"
    assert "espresso" in said(page) and "a colour scale of its own" in said(page)
    assert page.locator(f"{BOX} {MAP}").count() == 2
    assert page.locator(".jp-FileBrowser").is_visible()
    tops = page.locator(f"{BOX} figure").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert len(tops) == 3 and max(tops) - min(tops) < 1, "both maps stand beside the picture"


def test_every_control_and_picture_has_a_name(page):
    for label in LISTS:
        assert control(page, label).evaluate("one => one.tagName") == "SELECT", label
    box = page.locator(BOX)
    assert box.get_by_role("slider", name="opacity").count() == 1
    assert all(box.locator("button:visible").evaluate_all("all => all.map(one => one.innerText.trim())"))
    assert all(box.locator("img").evaluate_all("all => all.map(one => one.alt)"))
    assert box.locator("[aria-live=polite]").count() == 1


def test_keys_reach_the_controls_and_not_the_cells_of_the_notebook(page, folder):
    choose(page, network="shapes_resnet")  # quick
    before, cells = saved_cells(page, folder), page.locator(".jp-Notebook .jp-Cell").count()
    control(page, "network").focus()  # makes its cell the active one
    active = page.locator(".jp-Notebook .jp-Cell.jp-mod-active").get_attribute("data-windowed-list-index")
    reacted = {}
    for label in LISTS:
        one = control(page, label)
        one.focus()
        values = [one.input_value()]
        for key in ("ArrowDown", "ArrowUp", "ArrowDown", "a", "x", "d", "d"):
            one.press(key)
            values.append(one.input_value())
        assert page.locator(".jp-Notebook .jp-Cell").count() == cells, label
        assert one.evaluate("one => one === document.activeElement"), f"{label} has lost the focus"
        reacted[label] = len(set(values)) > 1
    slider = page.locator(BOX).get_by_role("slider", name="opacity")
    slider.focus()
    value = slider.get_attribute("aria-valuenow")
    for key in ("ArrowLeft", "ArrowDown", "a", "x", "d", "d"):
        slider.press(key)
    reacted["opacity"] = slider.get_attribute("aria-valuenow") != value
    button = page.locator(BOX).get_by_role("button", name="your own picture")
    button.focus()
    for key in ("ArrowLeft", "ArrowDown", "a", "x", "d", "d"):
        button.press(key)
    with page.expect_file_chooser():
        button.press("Enter")
    assert all(reacted.values()), reacted
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert active == page.locator(".jp-Notebook .jp-Cell.jp-mod-active").get_attribute("data-windowed-list-index")
    assert saved_cells(page, folder) == before


def test_a_reader_uses_the_explorer(page, folder, shots):
    settle(page, "network", "efficientnet_lite0")
    for label, option in (("method", "grad_cam"), ("beside it", "none"), ("class", "the highest")):
        settle(page, label, option)
    choose(page, network="shapes_resnet")
    for label, option, answer in [
        ("method", "cam", "cam took"),
        ("class", "square", "Asked for square"),
        ("layer", "layer3", "use grad_cam"),
        ("method", "layer_cam", "layer_cam took"),
        ("picture", "ring and crescent", "Highest: "),
        ("network", "shapes_vgg", "layer_cam took"),
        ("method", "cam", "has no class activation map"),
        ("method", "smooth_grad", "smooth_grad took"),
        ("beside it", "gradient", "share one colour scale"),
        ("beside it", "none", "smooth_grad took"),
    ]:
        before, words = sources(page), said(page)
        control(page, label).select_option(option)
        wait_for(lambda w=words, answer=answer: said(page) != w and answer in said(page), f"{label} {option}")
        wait_for(lambda before=before: sources(page) != before, f"another picture for {label} {option}")
        if "has no class" in answer:
            assert page.locator(f"{BOX} {MAP}").count() == 0, "a map beside an error"
        if option in ("ring and crescent", "gradient"):
            page.screenshot(path=str(shots / f"explorer_2_{option.split()[0]}.png"))
    before = sources(page)
    page.locator(BOX).get_by_role("slider").press("ArrowLeft")
    wait_for(lambda: sources(page) != before, "the picture in another opacity")

    control(page, "method").select_option("rise")
    page.get_by_role("button", name="cancel").click()
    wait_for(lambda: page.locator(f"{BOX} {WORDS}").inner_text() == "Cancelled.", "the end of RISE")
    assert page.locator(f"{BOX} {MAP}").count() == 0
    page.screenshot(path=str(shots / "explorer_3_cancelled.png"))
    page.get_by_role("button", name="again").click()
    wait_for(lambda: "rise took" in said(page), "RISE, asked again")

    (folder / "broken.png").write_bytes(b"no picture")
    upload(page, folder / "broken.png")
    wait_for(lambda: "broken.png cannot be read as a picture" in said(page), "the sentence")
    assert page.locator(f"{BOX} {PICTURE}, {BOX} {MAP}").count() == 0, "another picture below the file's name"
    page.screenshot(path=str(shots / "explorer_4_broken.png"))
    choose(page, method="guided_grad_cam")
    before = sources(page)
    upload(page, ROOT / "notebooks" / "figures" / "overview.jpg")
    wait_for(lambda: "knows ten shapes on drawings" in said(page), "the net of shapes takes no photograph")
    choose(page, network="efficientnet_lite0")
    wait_for(lambda: sources(page) != before, "the uploaded picture")
    page.screenshot(path=str(shots / "explorer_5_upload.png"))


def photograph_of_12_megabytes(file):
    """Noise, red above and blue below, with a note that the camera was upside down."""
    noise = np.random.default_rng(0).integers(0, 160, (3000, 4000, 3), np.uint8)
    noise[:1500, :, 0] += 95
    noise[1500:, :, 2] += 95
    image, exif = Image.fromarray(noise), Image.Exif()
    exif[0x0112] = 3
    image.save(file, "jpeg", quality=97, exif=exif)
    assert file.stat().st_size > 12e6


def test_a_large_photograph_is_shrunk_in_the_browser_and_what_it_cannot_read_is_refused(page, folder, shots):
    settle(page, "picture", "Chelsea the cat")
    settle(page, "method", "gradient")
    photograph_of_12_megabytes(folder / "large.jpg")
    begun = time.monotonic()
    upload(page, folder / "large.jpg")
    wait_for(lambda: "large.jpg has" in said(page) and "made it smaller" in said(page), "the large photograph")
    print(f"\na photograph of {(folder / 'large.jpg').stat().st_size / 1e6:.1f} MB: {time.monotonic() - begun:.1f} s")
    data = page.locator(f"{BOX} {PICTURE}").get_attribute("src").partition(",")[2]
    seen = np.array(Image.open(io.BytesIO(base64.b64decode(data)))).astype(float)
    above, below = seen[:100].mean((0, 1)), seen[-100:].mean((0, 1))
    assert seen.shape == (224, 224, 3) and above[2] - above[0] > 50 and below[0] - below[2] > 50, "it stands upright"
    page.screenshot(path=str(shots / "explorer_6_large.png"))

    (folder / "raw.png").write_bytes(bytes(12_000_000))
    upload(page, folder / "raw.png")
    wait_for(lambda: "raw.png has 12.0 MB" in said(page) and "was not sent" in said(page), "the sentence")
    assert page.locator(f"{BOX} {MAP}").count() == 0, "a map beside an error"


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_words_can_be_read_in_both_themes(page, shots, theme):
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_role("menuitem", name=theme, exact=True).click()
    wait_for(lambda: page.evaluate("document.body.dataset.jpThemeName") == theme, theme)
    settle(page, "picture", "Chelsea the cat")
    settle(page, "beside it", "layer_cam")
    settle(page, "method", "cam")
    choose(page, network="shapes_vgg")
    wait_for(lambda: page.locator(".wrong").count() == 1 and page.locator(f"{BOX} {MAP}").count() == 1, "both kinds")
    page.screenshot(path=str(shots / f"explorer_7_{theme.split()[1]}_error.png"))
    contrasts = page.locator(BOX).evaluate(CONTRAST)
    assert len(contrasts) > 15 and min(contrasts)[0] >= 4.5, sorted(contrasts)[:3]
    choose(page, network="efficientnet_lite0")
    settle(page, "picture", "Chelsea the cat")
    page.screenshot(path=str(shots / f"explorer_8_{theme.split()[1]}.png"))
    assert min(page.locator(BOX).evaluate(CONTRAST))[0] >= 4.5


def test_nothing_has_failed_in_the_notebook(page):
    faults = page.locator('[data-mime-type*="stderr"], [data-mime-type="application/vnd.jupyter.error"]')
    assert faults.count() == 0
