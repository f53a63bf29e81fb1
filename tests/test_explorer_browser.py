"""The explorer in a real browser: JupyterLab on this machine, the notebook run, its controls used as a reader would.

It needs Chromium and playwright, and runs with COURSE_ALL=1 only; half a minute. EXPLORER_SHOTS=folder keeps pictures.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from helpers.course import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
MAP, WORDS = 'img[alt^="The map"]', '[role="status"]'

pytestmark = [
    pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="needs a browser; make test-all runs it"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not here"),
]


@pytest.fixture
def lab(tmp_path):
    """The address of JupyterLab over a copy of the notebook, which finds the course by a link beside it."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "helpers").symlink_to(ROOT / "helpers")
    shutil.copyfile(ROOT / "tools" / "explore.ipynb", tmp_path / "tools" / "explore.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"--IdentityProvider.token=": "", "--ServerApp.ip=": "127.0.0.1", "--ServerApp.port=": port}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"{name}{value}" for name, value in options.items()]
    variables = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "lab.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api"), "JupyterLab", 90)
        yield f"http://127.0.0.1:{port}/lab/tree/tools/explore.ipynb?reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture
def page(tmp_path):
    """A page in Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            args=QUIET,
            viewport={"width": 1300, "height": 1000},
        )
        yield browser.new_page()
        browser.close()


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=2)
    except OSError:
        return False
    return True


def wait_for(ready, what, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} did not come in {seconds} s"
        time.sleep(0.2)


def test_a_reader_uses_the_explorer(lab, page, tmp_path):
    shots = Path(os.environ.get("EXPLORER_SHOTS", tmp_path))
    shots.mkdir(exist_ok=True, parents=True)
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook", timeout=60_000)
    page.wait_for_selector("text=| Idle", timeout=60_000)  # before, a cell to be run is forgotten
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_selector(MAP, timeout=90_000)

    def source():
        return page.locator(MAP).get_attribute("src")

    def said():
        return page.locator(WORDS).inner_text()

    def choose(label, option):
        page.locator(".widget-dropdown", has=page.get_by_text(label, exact=True)).locator("select").select_option(
            option
        )

    def upload(file):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="your own picture").click()
        chooser.value.set_files(file)

    page.locator(MAP).scroll_into_view_if_needed()
    wait_for(lambda: "grad_cam took" in said(), "the first answer")
    page.screenshot(path=str(shots / "explorer_1_open.png"))
    for label, option, answer in [
        ("method", "cam", "cam took"),
        ("class", "square", "Asked for square"),
        ("layer", "layer3", "use grad_cam"),
        ("method", "layer_cam", "layer_cam took"),
        ("picture", "ring and crescent", "Highest: "),
        ("network", "shapes_vgg", "layer_cam took"),
        ("method", "cam", "has no class activation map"),
        ("method", "smooth_grad", "smooth_grad took"),
    ]:
        before = page.locator(".jp-OutputArea-output img[alt]").evaluate_all("all => all.map(one => one.src).join()")
        words = said()
        choose(label, option)
        wait_for(lambda words=words, answer=answer: said() != words and answer in said(), f"{label} {option}")
        after = page.locator(".jp-OutputArea-output img[alt]").evaluate_all("all => all.map(one => one.src).join()")
        assert after != before, f"{label} {option} changed no picture"
        if option == "ring and crescent":
            page.screenshot(path=str(shots / "explorer_2_changed.png"))
    before = source()
    page.locator(".widget-slider .noUi-handle").press("ArrowLeft")
    wait_for(lambda: source() != before, "the picture in another opacity")

    choose("network", "shapes_resnet")
    wait_for(lambda: "smooth_grad took" in said() and source() != before, "the net")
    choose("method", "rise")
    page.get_by_role("button", name="cancel").click(timeout=20_000)
    wait_for(lambda: said() == "Cancelled.", "the end of RISE")
    page.screenshot(path=str(shots / "explorer_3_cancelled.png"))
    page.get_by_role("button", name="again").click()
    wait_for(lambda: "rise took" in said(), "RISE, asked again")

    (tmp_path / "broken.png").write_bytes(b"no picture")
    upload(tmp_path / "broken.png")
    wait_for(lambda: "This file cannot be read as a picture" in said(), "the sentence")
    page.screenshot(path=str(shots / "explorer_4_broken.png"))
    choose("method", "guided_grad_cam")
    wait_for(lambda: "guided_grad_cam took" in said(), "guided Grad-CAM")
    before = source()
    upload(ROOT / "notebooks" / "figures" / "overview.jpg")
    wait_for(lambda: "knows ten shapes on drawings" in said(), "the net of shapes takes no photograph")
    choose("network", "efficientnet_lite0")
    wait_for(lambda: source() != before, "the uploaded picture")
    page.screenshot(path=str(shots / "explorer_5_upload.png"))
    faults = page.locator('[data-mime-type*="stderr"], [data-mime-type="application/vnd.jupyter.error"]')
    assert faults.count() == 0
