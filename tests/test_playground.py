"""The playground: what its networks compute is what helpers compute; with COURSE_ALL=1 in a browser, too.

What needs the package registry and Chromium builds the page once and loads it once; PLAYGROUND_SHOTS=folder keeps
pictures. The times that it prints were taken on this machine, with whatever else runs on it.
"""

import base64
import functools
import http.server
import os
import re
import shutil
import statistics
import tarfile
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import attribution, evaluation
from helpers.data import UNSEEN, load_digits, mosaics, photographs, shapes
from helpers.data.digits import frame, generate
from helpers.models import load_classifier
from tools import lessons, npm
from tools.playground import build as playground
from tools.playground.__main__ import serve
from tools.playground.networks import DigitExplained, WithMaps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
CLOSE = 1e-3  # of the largest value
INPUTS = 20
PATIENCE = 600_000  # ms: a busy machine is slow, and not wrong
slow = pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="make test-all builds the playground")


def off(found, expected):
    """The largest difference, as a share of the largest value."""
    found, expected = torch.as_tensor(found).flatten(), torch.as_tensor(expected).flatten()
    return ((found - expected).abs().max() / expected.abs().max()).item()


# --- without a browser ---


def test_gradient_and_guided_backprop_are_those_of_helpers_and_complete():
    model, images = load_classifier("digits_cnn_mnist").model, load_digits(train=False).images[:6]
    explained = DigitExplained(model)
    for i, x in enumerate(images.split(1)):
        classes = [i, (i + 3) % 10]
        logits, gradient, guided, biases = explained(x, torch.eye(10)[classes])
        assert off(logits, model(x)) < 1e-5
        for row, c in enumerate(classes):
            assert off(gradient[row], attribution.gradient(model, x, c)) < 1e-5
            assert off(guided[row], attribution.guided_backprop(model, x, c)) < 1e-5
            assert (gradient[row] * x[0, 0]).sum() + biases[row] == pytest.approx(logits[0, c].item(), abs=1e-4)


@pytest.mark.parametrize(("name", "side"), [("shapes_resnet", 128), ("efficientnet_lite0", 96)])
def test_class_activation_maps_are_those_of_helpers_and_their_mean_and_bias_the_logit(name, side):
    classifier = load_classifier(name)
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    logits, maps = WithMaps(classifier.model)(x)
    assert off(logits, classifier.model(x)) < 1e-5
    assert off(maps.mean((2, 3)) + classifier.model.fc.bias, logits) < 1e-4
    for c in (0, 7):
        assert off(maps[:, c], attribution.cam(classifier.model, x, c, layer=classifier.layer)) < 1e-4


def test_the_samples_are_what_the_page_says_of_them(tmp_path):
    labels = playground.write_digits(tmp_path)
    assert labels == [*range(10)] * 2 and Image.open(tmp_path / "digits.png").size == (28 * 20, 28)
    made = playground.write_shapes(tmp_path)
    assert Image.open(tmp_path / "shapes.png").size == (128 * len(made["pictures"]), 128)
    places = np.array(Image.open(tmp_path / "places.png"))
    assert len(made["biases"]) == len(made["categories"]) == 10 and places.shape == (128, 128 * len(made["pictures"]))
    assert [set(np.unique(one)) for one in np.split(places, len(made["pictures"]), 1)] == [{0, 1, 2}] * 10 + [
        {0, 1}
    ] * 4
    made, classifier = playground.write_photographs(tmp_path), load_classifier("efficientnet_lite0")
    assert len(made["photographs"]) == 9 and len(made["mosaics"]) == playground.MOSAICS
    for one, picture in zip(made["photographs"], photographs().values(), strict=True):
        assert one["title"] == picture.title and one["licence"] == picture.licence
        x = classifier.preprocess(picture)
        torch.testing.assert_close(classifier.uncut(tmp_path / one["file"]), x, atol=1e-5, rtol=0)
    assert all(len(one["classes"]) == 4 and (tmp_path / one["file"]).is_file() for one in made["mosaics"])


def test_the_page_names_licences_and_lessons_and_loads_what_is_there():
    licences = [f"{one.title} ({one.licence})" for one in photographs().values()]
    alone, of_site = playground.page(licences, False), playground.page(licences, True)
    for words in ("MIT", "Apache-2.0", "CC BY-SA 3.0", "CC BY 4.0", *licences):
        assert words in alone, words
    named = set(re.findall(r'data-lesson="(\w+)"', alone))
    assert len(named) >= 3 and named <= set(lessons.ORDER) and 'href="../' not in alone
    assert of_site.count('href="../notebooks/') == alone.count("data-lesson=") and 'href="../index.html"' in of_site
    ours = {path.name for path in playground.PAGE.iterdir()}
    for path in playground.PAGE.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        asked = set(re.findall(r'from "\./([^"]+)"', text))
        assert asked <= ours | {f"ort/{name}" for name in playground.RUNTIME_FILES}, path.name
        assert not re.search(r"https?://", text), f"{path.name} names an address"
    assert not re.search(r"""(src|href)=["']?https?:""", alone)


def test_every_part_of_the_page_that_a_script_looks_for_is_there():
    text = (playground.PAGE / "index.html").read_text(encoding="utf-8")
    there = {name for names in re.findall(r'class="([^"]+)"', text) for name in names.split()}
    for path in playground.PAGE.glob("*.js"):
        for name in re.findall(r'\$\("([\w-]+)"\)', path.read_text(encoding="utf-8")):
            assert name in there, f"{path.name} looks for .{name}"


def test_a_page_that_cannot_be_built_leaves_the_old_one_as_it_was(tmp_path, monkeypatch):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("the old page", encoding="utf-8")

    def shut(*_):
        raise SystemExit("there is no network")

    for part in ("fetch", "write_imagenet"):  # the first thing that may fail, and a late one
        with monkeypatch.context() as patched:
            for name in ("write_runtime", "write_networks", "fetch"):
                patched.setattr(playground, name, lambda *_: None)
            patched.setattr(playground, part, shut)
            with pytest.raises(SystemExit, match="no network"):
                playground.build(folder)
        assert [path.name for path in tmp_path.rglob("*")] == ["page", "index.html"]
        assert (folder / "index.html").read_text(encoding="utf-8") == "the old page"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("npm error code ENOTFOUND\nnpm error syscall getaddrinfo", r"there is no network \(ENOTFOUND\); connect"),
        ("npm error code E404\nnpm error 404 Not Found", r"npm failed \(E404\); run npm ping"),
        (None, "install npm"),
    ],
)
def test_npm_that_fails_is_told_from_npm_that_is_missing(tmp_path, monkeypatch, said, expected):
    commands = tmp_path / "bin"
    commands.mkdir()
    if said:
        script = f"#!/bin/sh\necho '{said}' >&2\necho \"$@\" > '{tmp_path}/given'\nexit 1\n"
        (commands / "npm").write_text(script, encoding="utf-8")
        (commands / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setattr(npm, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=f"^a@1 is needed, which npm fetches once: {expected}"):
        npm.fetch("a@1")
    assert not list((tmp_path / "build" / "npm").iterdir())
    assert not said or "--fetch-retries=0" in (tmp_path / "given").read_text(encoding="utf-8")


def test_it_is_served_on_this_machine_also_where_the_port_is_taken():
    first = serve(playground.PAGE, 0)
    second = serve(playground.PAGE, first.server_port)
    assert first.server_address[0] == second.server_address[0] == "127.0.0.1"
    assert first.server_port != second.server_port
    threading.Thread(target=second.serve_forever, daemon=True).start()
    with urllib.request.urlopen(f"http://127.0.0.1:{second.server_port}/nets.js", timeout=60) as answered:
        assert answered.headers["Content-Type"] == "text/javascript"
        assert answered.read() == (playground.PAGE / "nets.js").read_bytes()
    second.shutdown()
    first.server_close()
    second.server_close()


# --- make test-all: in a browser ---


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    if not shutil.which("npm"):
        pytest.skip("npm, which fetches onnxruntime-web, is not here")
    folder = tmp_path_factory.mktemp("playground") / "page"
    playground.build(folder)
    return folder


class Plain(http.server.SimpleHTTPRequestHandler):
    """A plain static server, which sends no header that a page could ask for."""

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def opened(built):
    """The page in Chromium, its networks loaded, and what went wrong on it so far."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium here")
    handler, faults = functools.partial(Plain, directory=str(built)), []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}/"
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((home, "data:", "blob:")) or faults.append(r.url))
        page.goto(home, timeout=PATIENCE)
        for part in ("digit", "shapes"):
            page.wait_for_selector(f"#{part}[data-ready]")
        page.locator("#photograph .load").click()
        page.wait_for_selector("#photograph[data-ready]")
        page.evaluate(PREPARE)
        yield page, faults
        browser.close()
    server.shutdown()


PREPARE = """async () => {
  const nets = await import("./nets.js"), pictures = await import("./pictures.js");
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  window.trial = {
    ...pictures, ...(await import("./photograph.js")), ...(await import("./paint.js")), bytes,
    floats: (text) => new Float32Array(bytes(text).buffer),
    digit: await nets.openDigit(), shapes: await nets.openShapes(), photograph: await nets.openPhotograph(),
  };
}"""
RUN_DIGIT = """async ([text, classes]) => {
  const start = performance.now(), found = await trial.digit(trial.floats(text), classes);
  const lists = (one) => Array.from(one, (v) => (v.length ? [...v] : v)), took = performance.now() - start;
  return { took, ...Object.fromEntries(Object.entries(found).map(([name, one]) => [name, lists(one)])) };
}"""
RUN_MAPS = """async ([name, text, classes]) => {
  const start = performance.now(), found = await trial[name](trial.floats(text)), took = performance.now() - start;
  return { took, logits: [...found.logits], maps: classes.map((c) => [...found.map(c)]) };
}"""


def coded(values):
    """The bytes of an array as text."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def hold_times(name, times, most):
    """Print how long runs took; on a quiet machine their median has to keep to the limit, in ms."""
    print(f"{name}: {min(times):.0f} ms at best, {statistics.median(times):.0f} ms in the median of {len(times)} runs")
    if os.getloadavg()[0] <= os.cpu_count():
        assert statistics.median(times) <= most


@slow
def test_digits_agree_with_pytorch(opened):
    page, _ = opened
    model, images = load_classifier("digits_cnn_mnist").model, load_digits(train=False).images[:INPUTS]
    worst, times = {}, []
    for i, x in enumerate(images.split(1)):
        classes = [i % 10, (i + 3) % 10]
        found = page.evaluate(RUN_DIGIT, [coded(x), classes])
        times.append(found["took"])
        expected = {"logits": model(x)}
        for row, c in enumerate(classes):
            expected[f"gradient {row}"] = attribution.gradient(model, x, c)
            expected[f"guided {row}"] = attribution.guided_backprop(model, x, c)
            sums = (torch.tensor(found["gradient"][row]) * x.flatten()).sum() + found["biases"][row]
            assert sums.item() == pytest.approx(found["logits"][c], abs=1e-3)
        for name, value in expected.items():
            kind, _, row = name.partition(" ")
            worst[kind] = max(worst.get(kind, 0), off(found[kind][int(row)] if row else found[kind], value))
    print(f"digits: {worst}")
    assert max(worst.values()) < CLOSE
    hold_times("digits", times, 60)


def agree_with_maps(page, name, classifier, inputs):
    """Run pictures in the page; return what is farthest off, of logits and of the maps of the five highest classes."""
    worst, times = {"logits": 0, "maps": 0}, []
    for x in inputs.split(1):
        logits, classes = classifier.model(x), classifier.model(x)[0].topk(5).indices.tolist()
        found = page.evaluate(RUN_MAPS, [name, coded(x), classes])
        times.append(found["took"])
        expected = torch.cat([attribution.cam(classifier.model, x, c, layer=classifier.layer) for c in classes])
        worst["logits"] = max(worst["logits"], off(found["logits"], logits))
        for one, map_of_class in zip(found["maps"], expected, strict=True):
            worst["maps"] = max(worst["maps"], off(one, map_of_class))
            bias = classifier.model.fc.bias[classes].tolist()
        for one, b, c in zip(found["maps"], bias, classes, strict=True):
            assert sum(one) / len(one) + b == pytest.approx(found["logits"][c], abs=2e-3)
    print(f"{name}: {worst}")
    assert max(worst.values()) < CLOSE
    return times


@slow
def test_shapes_agree_with_pytorch(opened):
    page, _ = opened
    x = shapes.preprocess(shapes.two(INPUTS, UNSEEN).images)
    hold_times("shapes", agree_with_maps(page, "shapes", load_classifier("shapes_resnet"), x), 60)


@slow
def test_photographs_mosaics_and_covered_ones_agree_with_pytorch(opened):
    page, _ = opened
    classifier = load_classifier("efficientnet_lite0")
    whole = torch.cat([classifier.preprocess(one) for one in photographs().values()])
    quarters = torch.cat([classifier.uncut(one.image) for one in mosaics(6, side=112)])
    hidden = whole[:5].clone()
    hidden[:, :, 60:130, 70:140] = 0
    x = torch.cat([whole, quarters, hidden])
    assert len(x) == INPUTS
    hold_times("photographs", agree_with_maps(page, "photograph", classifier, x), 600)


@slow
def test_drawings_and_photographs_are_prepared_as_in_python(opened, tmp_path):
    page, _ = opened
    rng = np.random.default_rng(0)
    for i, digit in enumerate(generate(8, seed=5)[0]):
        ink = np.zeros((280, 280), np.uint8)
        high, wide, top, left = 60 + 20 * i, 200 - 20 * i, *rng.integers(0, 70, 2)
        ink[top : top + high, left : left + wide] = Image.fromarray(digit).resize((wide, high), Image.BICUBIC)
        found = page.evaluate("(text) => [...trial.frame(trial.bytes(text), 280)]", coded(ink))
        assert np.abs(np.array(found) * 255 - frame(ink).flatten()).max() <= 1
    classifier = load_classifier("efficientnet_lite0")
    for name in ("chelsea", "rocket", "camera"):
        Image.fromarray(photographs()[name].image).save(tmp_path / "own.png")
        found = page.evaluate(
            """async (text) => {
              const { rgba, width, height } = await trial.pixels(new Blob([trial.bytes(text)], { type: "image/png" }));
              return trial.asInput(trial.cutOut(rgba, width, height), 127, 128).join(" ");
            }""",
            base64.b64encode((tmp_path / "own.png").read_bytes()).decode(),
        )
        found = torch.tensor(np.array(found.split(), np.float32)).reshape(1, 3, 224, 224)
        assert (found - classifier.preprocess(tmp_path / "own.png")).abs().max() <= 1 / 128  # one step of 255
        x = np.ascontiguousarray(found)
        hidden = page.evaluate(
            "(text) => trial.covered(trial.floats(text), trial.box([10, 100], 50, 224), 224).join(' ')", coded(x)
        )
        x[:, :, 75:125, 0:35] = 0
        np.testing.assert_allclose(np.array(hidden.split(), np.float32), x.flatten(), atol=1e-6)


@slow
def test_the_share_in_a_quarter_is_that_of_the_grid_pointing_game(opened):
    page, _ = opened
    maps = torch.randn(4, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = evaluation.grid_pointing(maps, mosaics(1, side=112)[0].masks).share
    ask = "([text, q]) => trial.shareInQuarter(trial.enlarge(trial.floats(text), 7, 224), q)"
    found = [page.evaluate(ask, [coded(one), quarter]) for quarter, one in enumerate(maps)]
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-4, rtol=0)


def answer(page, part, act):
    """Do something to a part of the page, and wait until its network has answered."""
    page.evaluate("(part) => delete document.querySelector(`#${part} .time`).dataset.ms", part)
    act()
    page.wait_for_selector(f"#{part} .time[data-ms]", state="attached")
    page.wait_for_timeout(300)  # one more answer may follow the first, where several things happened
    return float(page.locator(f"#{part} .time").get_attribute("data-ms"))


def sum_and_logit(page, part):
    """The two sides of the equation that a part of the page shows."""
    given = page.locator(f"#{part} .sum").evaluate("(box) => [box.dataset.sum, box.dataset.logit]")
    return [float(one) for one in given]


def drag(page, selector, *places):
    """Move a held pointer over a canvas; places are shares of its width and height."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


@slow
def test_a_reader_draws_a_digit(opened):
    page, faults = opened
    pressed = page.locator("#digit .scores button[aria-pressed='true'] .name")
    answer(page, "digit", lambda: drag(page, "#digit .draw", (0.5, 0.15), (0.5, 0.85)))
    assert pressed.inner_text() == "1"  # the sample 4 that the area opens with is gone
    for label in (7, 0):
        answer(
            page,
            "digit",
            lambda label=label: page.get_by_role("button", name=f"Sample: a {label}").first.press("Enter"),
        )
        assert pressed.inner_text() == str(label)
    page.locator("#digit .clear").click()
    page.wait_for_function("document.querySelector('#digit .sum').textContent.startsWith('Draw a digit')")
    assert page.locator("#digit .time").inner_text() == ""
    answer(page, "digit", lambda: drag(page, "#digit .draw", (0.5, 0.15), (0.5, 0.85)))
    assert pressed.inner_text() == "1"
    found, logit = sum_and_logit(page, "digit")
    assert found == pytest.approx(logit, abs=1e-3)
    before = page.locator("#digit .gradient").evaluate("(canvas) => canvas.toDataURL()")
    answer(page, "digit", lambda: page.locator("#digit .scores button").nth(3).click())
    assert pressed.inner_text() == "3" and not page.locator("#digit .follow").is_checked()
    assert page.locator("#digit .gradient").evaluate("(canvas) => canvas.toDataURL()") != before
    assert "Gradient of the logit of 3" in page.locator("#digit .gradient").get_attribute("aria-label")
    found, other = sum_and_logit(page, "digit")
    assert found == pytest.approx(other, abs=1e-3) and other < logit
    answer(page, "digit", lambda: page.locator("#digit .follow").check())
    assert pressed.inner_text() == "1" and not faults


@slow
def test_a_reader_covers_a_shape(opened):
    page, faults = opened
    answer(page, "shapes", lambda: page.locator("#shapes .samples button").nth(2).press("Enter"))
    title = page.locator("#shapes .picture-title").inner_text()
    model, drawn = load_classifier("shapes_resnet"), shapes.two(3, UNSEEN)
    x = model.preprocess(drawn.images[2])
    for c in drawn.labels[2]:
        assert model.categories[c] in title
        answer(page, "shapes", lambda c=c: page.locator("#shapes .scores button").nth(c).click())
        found, logit = sum_and_logit(page, "shapes")
        assert found == pytest.approx(logit, abs=2e-3)
        assert f"lies on the {model.categories[c]}." in page.locator("#shapes .remark").inner_text()
        plain = page.locator("#shapes .logit-before").inner_text().replace("\u2212", "-")
        assert float(plain) == pytest.approx(model.model(x)[0, c].item(), abs=0.011)
    rows, columns = np.nonzero(drawn.masks[2, 1])
    middle = (columns.mean() / 128, rows.mean() / 128)
    page.locator("#shapes .size").fill("40")
    answer(page, "shapes", lambda: drag(page, "#shapes .picture", (0.1, 0.1), middle))
    hidden = float(page.locator("#shapes .logit-after").inner_text().replace("\u2212", "-"))
    assert hidden < float(plain) - 1  # what the logit came from is covered
    answer(page, "shapes", lambda: page.locator("#shapes .picture").press("ArrowRight"))
    moved = page.locator("#shapes .logit-after").inner_text()
    assert float(moved.replace("\u2212", "-")) != hidden
    answer(page, "shapes", lambda: page.locator("#shapes .cover").uncheck())
    assert page.locator("#shapes .effect").is_hidden() and not faults


@slow
def test_a_reader_opens_a_mosaic_and_a_photograph(opened, tmp_path):
    page, faults = opened
    classifier = load_classifier("efficientnet_lite0")
    mosaic = mosaics(1, seed=4, names=playground.MOSAIC_OF, side=112)[0]
    answer(page, "photograph", lambda: page.locator("#photograph .mosaics button").first.click())
    names = [classifier.categories[c] for c in mosaic.categories]
    wanted, unknown = page.locator("#photograph .wanted"), page.locator("#photograph .unknown")
    wanted.fill("tabby")
    answer(page, "photograph", lambda: wanted.press("Enter"))
    said = f"The four photographs are labelled {', '.join(names[:-1])} and {names[-1]}; "
    said += "this class is none of these labels."
    assert page.locator("#photograph .remark").inner_text() == said
    wanted.fill("cat")
    wanted.press("Enter")
    near = "ImageNet has no class of exactly this name. Classes that contain it: tiger cat, Persian cat, Siamese cat."
    assert unknown.inner_text() == near
    wanted.fill("qqq")
    wanted.press("Enter")
    assert unknown.inner_text() == "ImageNet has no class of this name. Choose one from the list."
    wanted.fill("")
    wanted.press("Enter")
    assert unknown.inner_text() == ""
    for quarter, c in enumerate(mosaic.categories):
        button = page.locator(f"#photograph .scores button[data-number='{c}']")
        answer(page, "photograph", button.click)
        found, logit = sum_and_logit(page, "photograph")
        assert found == pytest.approx(logit, abs=2e-3)
        if quarter == 0:
            x = classifier.uncut(mosaic.image)
            map_of_class = attribution.cam(classifier.model, x, c, layer=classifier.layer)
            share = evaluation.grid_pointing(map_of_class, mosaic.masks[:1]).share.item()
            said = int(re.search(r"(\d+) %", page.locator("#photograph .remark").inner_text())[1])
            assert said == pytest.approx(100 * share, abs=0.6)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    page.locator("#photograph .file").set_input_files(tmp_path / "broken.jpg")
    page.wait_for_selector("#photograph .state:has-text('cannot be read as a picture')")
    assert page.locator("#photograph .map").is_hidden()  # no map of another picture beside these words
    picture = photographs()["coffee"].image
    Image.fromarray(picture).save(tmp_path / "own.png")
    answer(page, "photograph", lambda: page.locator("#photograph .file").set_input_files(tmp_path / "own.png"))
    (best, share), *_ = classifier.top(classifier.preprocess(picture))[0]
    first = page.locator("#photograph .scores button").first.inner_text()
    assert best in first and float(re.search(r"([\d.]+) %", first)[1]) == pytest.approx(100 * share, abs=0.5)
    page.locator("#photograph .wanted").fill("teapot")
    answer(page, "photograph", lambda: page.locator("#photograph .wanted").press("Enter"))
    assert "teapot" in page.locator("#photograph .map-title").inner_text()
    assert not faults


@slow
def test_it_fits_every_screen_in_both_themes_and_is_accessible(opened):
    page, faults = opened
    shots = os.environ.get("PLAYGROUND_SHOTS")
    answer(page, "digit", lambda: page.locator("#digit .samples button").first.click())
    with tarfile.open(playground.fetch("axe-core@4.14.1")) as archive:
        page.add_script_tag(content=archive.extractfile("package/axe.min.js").read().decode())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(500)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
            for part in ("digit", "shapes", "photograph"):
                assert page.locator(f"#{part} .heads").is_visible()
                assert page.locator(f"#{part} .scores .logit").first.is_visible()
            found = page.evaluate("axe.run().then((all) => all.violations.map((one) => [one.id, one.nodes[0].html]))")
            assert not found, f"{width} {scheme}: {found}"
            for part in ("digit", "shapes", "photograph") if shots else ():
                page.locator(f"#{part}").screenshot(path=Path(shots) / f"{width}_{scheme}_{part}.png")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert not faults


@slow
def test_numbers_that_are_rounded_to_zero_have_no_sign(opened):
    page, _ = opened
    found = page.evaluate(
        """async () => {
          const { number, signed } = await import("./parts.js");
          return [-0.04, 0.04, 0, -0.06, 0.06].flatMap((v) => [number(v, 1), signed(v, 1)]);
        }"""
    )
    assert found == ["0.0"] * 6 + ["\u22120.1", "\u22120.1", "0.1", "+0.1"]


@slow
def test_a_file_that_is_dropped_anywhere_does_not_replace_the_page(opened):
    page, _ = opened
    prevented = page.evaluate(
        """() => ["dragover", "drop"].map((kind) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["x"], "own.png", { type: "image/png" }));
          const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
          document.querySelector("h1").dispatchEvent(event);
          return event.defaultPrevented;
        })"""
    )
    assert prevented == [True, True]


@slow
def test_an_answer_is_quick(opened):
    """From the hand to the drawn map, as the page itself measures it."""
    page, _ = opened
    moves = {"digit": ("#digit .samples button", 60), "shapes": ("#shapes .samples button", 60)}
    for part, (buttons, most) in moves.items():
        times = [answer(page, part, lambda i=i, b=buttons: page.locator(b).nth(i).click()) for i in range(10)]
        hold_times(f"{part}, with its drawing", times, most)
    keys = ("ArrowRight", "ArrowDown")
    times = [
        answer(page, "photograph", lambda i=i: page.locator("#photograph .picture").press(keys[i % 2]))
        for i in range(7)
    ]
    hold_times("photograph, with its drawing", times, 600)
