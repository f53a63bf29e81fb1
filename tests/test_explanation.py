"""The explorer: what it computes is what the methods give; its controls answer, can be stopped and never raise."""

import base64
import io
import re
import sys
import threading
from datetime import UTC, datetime

import ipywidgets
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from helpers import attribution
from helpers.data import Picture, photograph
from helpers.evaluation import mass_accuracy
from helpers.evaluation.methods import BASELINES, METHODS
from helpers.explorer import explore, explorer, offered
from helpers.explorer.explanation import bar, blend, classes_of, colour_scales, layers, methods_of, seen_by, slow
from helpers.explorer.page import picture_in
from helpers.explorer.widget import NETS, NONE, OWN
from helpers.models import load_classifier
from test_hooks import hooks_of

BROKEN = b"\x89PNG\r\n\x1a\n and then nothing of the kind"


@pytest.fixture(scope="module")
def resnet():
    return load_classifier("shapes_resnet")


@pytest.fixture(scope="module")
def vgg():
    return load_classifier("shapes_vgg")


@pytest.fixture(scope="module")
def real():
    return load_classifier("efficientnet_lite0")


@pytest.fixture(scope="module")
def picture(resnet):
    return offered(resnet)[0]


def as_file(image, kind="png"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


# --- the plain function ---


def test_the_map_and_its_numbers_are_those_of_the_methods(resnet, picture):
    x, second = resnet.preprocess(picture), picture.categories[1]
    expected = {
        "cam": attribution.upsample(attribution.cam(resnet.model, x, second, layer="layer4"), (128, 128))[0],
        "grad_cam": attribution.upsample(attribution.grad_cam(resnet.model, x, second, layer="layer4"), (128, 128))[0],
        "gradient": attribution.pixel_map(attribution.gradient(resnet.model, x, second))[0],
        "lrp": attribution.pixel_map(attribution.lrp(resnet.model, x, second, rule="gamma"), "sum")[0],
        "occlusion": attribution.occlusion(resnet.model, x, second, patch=24, stride=12)[0],
    }
    for method, heat in expected.items():
        shown = explore(resnet, picture, method, category=second)
        torch.testing.assert_close(shown.heat, heat)
        assert shown.target == second and shown.score == pytest.approx(resnet.model(x)[0, second].item())
        inside = mass_accuracy(heat[None], torch.from_numpy(picture.masks[1])[None]).item()
        assert shown.inside == pytest.approx(inside, abs=1e-5)
        hit = picture.masks[1].flatten()[int(heat.argmax())]
        assert shown.hit == pytest.approx(float(hit), abs=0.5)  # equal maxima share
    assert explore(resnet, picture, "gradient").target == int(resnet.model(x).argmax())


@pytest.mark.parametrize("method", [*(m for m in METHODS if not m.startswith("attention")), *BASELINES])
def test_every_method_of_the_course_is_answered_with_finite_numbers(resnet, picture, method):
    shown = explore(resnet, picture, method)
    assert shown.heat.shape == (128, 128) and torch.isfinite(shown.heat).all()
    assert shown.seen.shape == (128, 128, 3) and shown.seen.dtype == np.uint8
    assert len(shown.numbers) >= 4 and not re.search(r"\bnan\b|\binf\b", " ".join(shown.numbers))
    assert not hooks_of(resnet.model)
    assert slow(method) or shown.seconds < 2  # alone on a quiet machine: below a tenth


@pytest.mark.parametrize("method", ["attention_rollout", "attention_relevance"])
def test_methods_of_attention_need_a_transformer_and_are_offered_for_one_alone(resnet, picture, method):
    with pytest.raises(ValueError, match="runs no attention between tokens"):
        explore(resnet, picture, method)
    assert method not in methods_of(resnet.model, resnet.preprocess(picture))
    transformer = load_classifier("shapes_vit")
    assert methods_of(transformer.model, transformer.preprocess(picture)) == list(METHODS)
    assert explore(transformer, picture, method).heat.shape == (128, 128)


@pytest.mark.parametrize("method", ["cam", "grad_cam", "hires_cam", "xgrad_cam", "gradient_x_input", "full_grad"])
def test_what_must_add_up_does(resnet, picture, method):
    for category in range(10):
        total = explore(resnet, picture, method, category=category).sum
        assert total.holds and total.due == pytest.approx(total.found, rel=1e-3, abs=1e-3)


def test_what_need_not_or_does_not_add_up_is_said(resnet, vgg, picture):
    for method in ("gradient", "guided_backprop", "rise", "eigen_cam"):
        assert explore(resnet, picture, method).sum is None
    assert explore(vgg, picture, "grad_cam").sum is None  # a head with a hidden layer
    assert explore(resnet, picture, "grad_cam", layer="layer2").sum is None
    whole = explore(vgg, picture, "integrated_gradients")
    x = vgg.preprocess(picture)
    rise = vgg.model(x)[0, whole.target] - vgg.model(torch.zeros_like(x))[0, whole.target]
    assert whole.sum.due == pytest.approx(rise.item(), abs=1e-3)
    assert whole.sum.found == pytest.approx(whole.heat.sum().item(), abs=1e-3)
    assert not whole.sum._replace(found=whole.sum.due * 1.2).holds
    assert str(whole.sum._replace(due=10.0, found=10.05)).endswith("add up to 10.050: they do.")
    assert str(whole.sum._replace(due=7.58, found=7.958)).endswith("7.958: they do within 5% (off by 0.378).")
    assert str(whole.sum._replace(due=0.1, found=0.14)).endswith("they do within 5% of one logit (off by 0.04).")
    missed = str(whole.sum._replace(due=10.0, found=12.0))
    assert missed.endswith("they miss it by 2; 25 points are few for this network.")
    assert str(whole.sum._replace(due=10.0, found=12.0, reason="")).endswith("they miss it by 2.")


def test_grades_only_where_the_truth_is_known(resnet, picture):
    absent = next(i for i in range(10) if i not in picture.categories)
    shown = explore(resnet, picture, "grad_cam", category=absent)
    assert shown.inside is None and any("There is no" in number for number in shown.numbers)
    assert explore(resnet, picture.image, "grad_cam").inside is None
    assert explore(resnet, Picture(picture.image, "mine", ()), "grad_cam").hit is None


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"method": "grad_cm"}, "choose one of gradient,"),
        ({"method": "grad_cam", "category": 10}, "Class 10 is out of range"),
        ({"method": "grad_cam", "layer": "layer9"}, "has no layer 'layer9'"),
        ({"method": "cam", "layer": "layer3"}, "use grad_cam"),
    ],
)
def test_questions_without_an_answer_are_refused_in_one_sentence(resnet, picture, options, cure):
    with pytest.raises(ValueError, match=cure):
        explore(resnet, picture, **options)
    assert not hooks_of(resnet.model)


def test_blend(resnet, picture):
    shown = explore(resnet, picture, "grad_cam")
    assert np.array_equal(blend(shown.seen, shown.heat, 0), shown.seen)
    assert np.array_equal(shown.seen, picture.image)  # this net takes pictures as they are
    none, half, full = (blend(shown.seen, shown.heat, opacity).astype(int) for opacity in (0, 0.5, 1))
    assert np.abs(half - (none + full) / 2).max() <= 1 and np.abs(full - none).mean() > 10
    with pytest.raises(ValueError, match="from 0 to 1"):
        blend(shown.seen, shown.heat, 1.1)
    with pytest.raises(ValueError, match="upsample"):
        blend(shown.seen, shown.heat[:8, :8], 0.5)


def test_maps_of_one_unit_share_a_scale_and_others_do_not(resnet, vgg, picture):
    one, two = (explore(resnet, picture, method) for method in ("gradient_x_input", "integrated_gradients"))
    first, second = colour_scales(one, two)
    top = max(one.heat.abs().max(), two.heat.abs().max()).item()
    assert first == second and first.high == -first.low == pytest.approx(top)
    for other in ("gradient", "grad_cam", "rise"):
        first, second = colour_scales(one, explore(resnet, picture, other))
        assert first == colour_scales(one)[0] and first != second
    assert np.array_equal(blend(one.seen, one.heat, 0.7), blend(one.seen, one.heat, 0.7, colour_scales(one)[0]))


def test_a_bar_has_the_colours_of_the_map(resnet, picture):
    look = colour_scales(explore(resnet, picture, "gradient_x_input"))[0]
    colours = bar(look, 1).astype(int)
    assert colours.shape == (1, 256, 3)
    low, high = colours[0, 0], colours[0, -1]
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50  # blue speaks against the class, red for it
    grey = blend(np.full((1, 1, 3), 115, np.uint8), torch.tensor([[look.high]]), 1, look)[0, 0]
    assert np.abs(grey.astype(int) - high).max() <= 1


def test_the_real_network_gets_photographs_then_mosaics_whose_quarters_are_known(real):
    shown = offered(real)
    assert [bool(one.masks) for one in shown] == sorted(bool(one.masks) for one in shown)
    assert shown[0].image.shape[0] > 300 and shown[-1].image.shape == (224, 224, 3)
    mosaic = shown[-1]
    assert np.abs(seen_by(real, mosaic).astype(int) - mosaic.image).max() <= 1, "whole, so that its masks fit"
    on = [explore(real, mosaic, "grad_cam", category=category) for category in mosaic.categories]
    assert [one.hit for one in on] == [1, 1, 1, 1] and min(one.inside for one in on) > 0.5
    blind = [explore(real, mosaic, "mean of maps", category=category).inside for category in mosaic.categories]
    assert sum(blind) == pytest.approx(1, abs=0.01)


def test_classes_of_the_picture_come_first_and_many_others_by_name(real, resnet, picture):
    photo = offered(real)[0]
    names = classes_of(real, photo)
    assert [number for _, number in names[:2]] == list(photo.categories) and len(names) == 1000
    assert all(real.categories[number] == name for name, number in names)
    rest = [name.lower() for name, _ in names[2:]]
    assert rest == sorted(rest)
    numbers = [number for _, number in classes_of(resnet, picture)]
    assert numbers[:2] == list(picture.categories) and numbers[2:] == sorted(numbers[2:]) and len(numbers) == 10


def test_the_picture_shown_is_the_one_the_net_sees(real):
    wide = np.zeros((60, 300, 3), np.uint8)
    wide[:, :150] = 200, 30, 10
    seen = seen_by(real, wide)  # the middle of it
    assert seen.shape == (224, 224, 3)
    assert np.abs(seen[112, 10].astype(int) - (200, 30, 10)).max() <= 1 and seen[112, -1].max() <= 1


def test_layers(resnet, vgg):
    found = layers(resnet.model, torch.zeros(1, 3, 128, 128))
    assert found["conv1"] == (16, 64, 64) and found["layer4"] == (128, 8, 8) and "fc" not in found
    assert list(found).index("layer1") < list(found).index("layer4") and "avgpool" not in found
    found = layers(vgg.model, torch.zeros(1, 3, 128, 128))
    assert found["features"] == (128, 8, 8) and "features.0" in found and "classifier" not in found
    real = torchvision.models.resnet18(weights=None).eval()
    found = layers(real, torch.zeros(1, 3, 64, 64))
    assert found["layer4"] == (512, 2, 2) and found["layer1.0"] == (64, 16, 16) and not hooks_of(real)


# --- the controls, without a browser ---


@pytest.fixture
def box():
    box = explorer("shapes_resnet")
    wait(box)
    yield box
    box.stop()
    wait(box)


def wait(box):
    box.worker.join(60)
    assert not box.worker.is_alive()


def images(box):
    """The picture and the maps on the page, as bytes, without the colour scales."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="The', box.pair.value)
    return [base64.b64decode(data) for data in found]


def wrong(box):
    """What the page says is wrong."""
    return " ".join(re.findall(r'class="wrong"[^>]*>([^<]*)<', box.words.value))


def test_each_control_changes_what_it_should(box):
    old, before = box.shown, images(box)
    assert len(before) == 2 and "logit" in box.words.value and box.pair.value.count('alt="') == 3
    assert "Colour scale from 0 to " in box.pair.value and ", logits per place of the layer" in box.pair.value
    for control, value in [
        (box.category, 3),
        (box.method, "layer_cam"),
        (box.layer, "layer2"),
        (box.picture, box.picture.options[-1]),
        (box.net, "shapes_vgg"),
    ]:
        control.value = value
        wait(box)
        assert box.shown is not old and images(box)[1] != before[1], control.description
        old, before = box.shown, images(box)
    assert box.layer.value == "features" and box.shown.method == "layer_cam"
    assert box.category.value == 3 and box.picture.value == box.picture.options[-1], "kept where the net has them too"
    box.opacity.value = 0
    assert box.shown is old, "the opacity asks nothing"
    assert images(box)[1] == images(box)[0] == before[0]


def test_a_method_without_an_answer_says_so_and_the_next_one_answers(box):
    box.net.value = "shapes_vgg"
    box.method.value = "cam"
    wait(box)
    assert box.shown is None and "use grad_cam, which needs no such head" in box.words.value
    assert len(images(box)) == 1 and "use grad_cam" in wrong(box)
    box.method.value = "grad_cam"
    wait(box)
    assert box.shown and len(images(box)) == 2 and not wrong(box)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("efficientnet_lite0", "The network in use is still efficientnet_lite0."),
        ("shapes_resnet", "still shapes_resnet; you can choose efficientnet_lite0 in the list."),
    ],
)
def test_a_net_that_has_a_stand_in_only_leaves_the_one_in_use(box, before, says):
    box.net.value = before
    wait(box)
    box.net.value = "resnet18"
    wait(box)
    assert box.net.value == before == box.classifier.name and box.shown and len(images(box)) == 2
    assert "In place of resnet18: efficientnet_lite0, the real network that is here" in box.words.value
    assert says in box.words.value
    box.category.value = 3
    wait(box)
    assert "resnet18" not in box.words.value, "the list and the answer agree, so it is said once"


def test_a_stand_in_at_the_start_is_named_in_the_list():
    box = explorer("resnet18")
    wait(box)
    assert box.net.value == box.loaded == "efficientnet_lite0" and box.shown
    assert "In place of resnet18: efficientnet_lite0" in box.words.value


def test_a_net_that_cannot_be_had_leaves_the_one_in_use(box, monkeypatch):
    def fail(name):
        raise RuntimeError("Its weights are damaged: clone the course again.")

    monkeypatch.setattr("helpers.explorer.widget.load_classifier", fail)
    box.net.value = "vgg11"
    assert box.net.value == "shapes_resnet" and "Its weights are damaged" in wrong(box)
    assert "The network in use is still shapes_resnet" in wrong(box)
    assert box.shown is None and len(images(box)) == 1, "no map beside an error"
    box.method.value = "cam"
    wait(box)
    assert box.shown.method == "cam"


FORMS = {
    "7": lambda content: {"a.png": {"content": content}},
    "8": lambda content: ({"name": "a.png", "content": memoryview(content)},),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_upload_is_shown_and_a_broken_one_gets_a_sentence(box, form, picture):
    for broken in (BROKEN, b"", b"hello", as_file(picture.image)[:500]):
        before = box.picture.value
        box.read(form(broken))
        assert wrong(box).startswith("a.png cannot be read as a picture") and box.picture.value == before
        assert box.shown is None and not images(box), "no picture or map of something else below its name"
        box.opacity.value = 0.5 if box.opacity.value == 0.8 else 0.8
        assert not images(box), "nor after another opacity"
    box.category.value = 3
    wait(box)
    assert len(images(box)) == 2 and not wrong(box), "the next question is answered on the picture in the list"
    box.read(form(as_file(picture.image[:, ::-1])))
    wait(box)
    assert box.picture.value == OWN and np.array_equal(box.shown.seen, picture.image[:, ::-1])
    assert box.shown.inside is None
    box.net.value = "shapes_vgg"
    wait(box)
    assert box.picture.value == OWN and np.array_equal(box.shown.seen, picture.image[:, ::-1])
    box.read(form(b""))
    assert "a.png cannot be read as a picture" in box.words.value
    box.read(type(form(b""))())  # the control was emptied
    box.method.value = "gradient"
    wait(box)
    assert box.shown.method == "gradient"


def test_a_broken_file_comes_through_the_control_itself_without_anywidget(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    box = explorer("shapes_resnet")
    wait(box)
    now = datetime.now(UTC)
    eight = ({"name": "a.png", "type": "", "size": 1, "content": memoryview(BROKEN), "last_modified": now},)
    seven = {"a.png": {"metadata": {}, "content": BROKEN}}
    box.upload.set_trait("value", seven if ipywidgets.__version__.startswith("7") else eight)
    assert "a.png cannot be read as a picture" in wrong(box)


def test_what_the_browser_sends_is_shown_and_what_it_refuses_is_said(box, picture):
    pytest.importorskip("anywidget")
    box.upload._handle_custom_msg(
        {"name": "a.jpg", "note": "a.jpg has 12.0 MB"}, [memoryview(as_file(picture.image[:, ::-1]))]
    )
    wait(box)
    assert box.picture.value == OWN and "a.jpg has 12.0 MB" in box.words.value and len(images(box)) == 2
    box.upload._handle_custom_msg({"refused": "b.heic has 12.0 MB, and was not sent."}, [])
    assert "was not sent" in wrong(box) and box.shown is None and not images(box)
    box.upload._handle_custom_msg({"name": "c.png", "note": ""}, [memoryview(BROKEN)])
    assert wrong(box).startswith("c.png cannot be read as a picture") and not images(box)


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "jpeg"), ("L", "png"), ("RGBA", "webp"), ("P", "gif")])
def test_pictures_of_many_kinds_can_be_uploaded(picture, mode, kind):
    file = io.BytesIO()
    Image.fromarray(picture.image).convert(mode).save(file, kind)
    read = picture_in(({"content": file.getvalue()},))
    assert read.dtype == np.uint8 and read.shape == (128, 128, 3)
    assert np.abs(read.mean() - picture.image.mean()) < 5


def test_a_slow_method_shows_a_bar_and_can_be_cancelled_and_asked_again(box):
    moved = stop_at(box, 0.3)
    box.method.value = "rise"
    assert box.wait.layout.visibility == "visible" and box.shown is None and len(images(box)) == 1
    assert moved.wait(60)
    wait(box)
    assert 0.3 <= box.bar.value < 1 and "Cancelled." in box.words.value and box.shown is None
    assert not hooks_of(box.classifier.model) and not any(m.training for m in box.classifier.model.modules())
    box.cancel.click()  # it says "again" now
    assert box.cancel.description == "cancel"
    wait(box)
    assert box.shown.method == "rise" and box.bar.value == 1 and box.wait.layout.visibility == "hidden"
    torch.testing.assert_close(
        box.shown.heat, explore(box.classifier, box.pictures[box.picture.value], "rise").heat, rtol=1e-4, atol=1e-5
    )


def test_two_methods_stand_side_by_side(box):
    box.beside.value = "hires_cam"
    wait(box)
    assert [answer.method for answer in box.answers] == ["grad_cam", "hires_cam"] and len(images(box)) == 3
    assert "share one colour scale" in box.words.value
    scales = re.findall(r'alt="(Colour scale[^"]*)"', box.pair.value)
    assert len(scales) == 2 and scales[0] == scales[1]
    box.beside.value = "mean of maps"
    wait(box)
    assert "a colour scale of its own" in box.words.value and box.answers[1].method == "mean of maps"
    assert box.pair.value.count("must add up to") == 1 and box.pair.value.count(" took ") == 2
    box.net.value = "shapes_vgg"
    box.method.value = "cam"
    wait(box)
    assert "cam: " in wrong(box) and len(images(box)) == 2, "the other method has its answer"
    box.beside.value = NONE
    wait(box)
    assert len(box.answers) == 1 and len(images(box)) == 1


def test_methods_of_attention_come_and_go_with_the_network(box):
    assert "attention_rollout" not in box.method.options
    box.net.value = "shapes_vit"
    wait(box)
    box.method.value = "attention_relevance"
    wait(box)
    assert box.shown.method == "attention_relevance"
    box.net.value = "shapes_vgg"
    wait(box)
    assert box.method.value == "grad_cam" and box.shown.method == "grad_cam"


def test_an_answer_that_is_late_takes_the_old_map_away_and_can_be_cancelled(box, monkeypatch):
    go_on, late = threading.Event(), threading.Event()
    monkeypatch.setattr("helpers.explorer.widget.PATIENCE", 0.05)
    monkeypatch.setattr("helpers.explorer.widget.explore", lambda *_, **__: go_on.wait(60) and explore(*_, **__))
    box.wait.layout.observe(lambda change: late.set() if change["new"] == "visible" else None, "visibility")
    box.category.value = 4
    assert late.wait(60) and box.shown is None and len(images(box)) == 1
    go_on.set()
    wait(box)
    assert box.shown.target == 4 and box.wait.layout.visibility == "hidden"


def stop_at(box, share):
    """Click on cancel once, when the bar has passed a share of its length; the event says that this has happened."""
    moved = threading.Event()

    def watch(change):
        if change["new"] >= share and not moved.is_set():
            moved.set()
            box.cancel.click()

    box.bar.observe(watch, "value")
    return moved


def test_a_newer_question_ends_the_older_one(box):
    started = threading.Event()
    box.bar.observe(lambda change: started.set(), "value")
    box.method.value = "rise"
    assert started.wait(60)
    older = box.worker
    box.method.value = "guided_backprop"
    wait(box)
    older.join(60)
    expected = explore(box.classifier, box.pictures[box.picture.value], "guided_backprop")
    assert box.shown.method == "guided_backprop" and box.wait.layout.visibility == "hidden"
    torch.testing.assert_close(box.shown.heat, expected.heat)
    assert not hooks_of(box.classifier.model)


def test_nothing_raises_whatever_the_method_does(box, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("helpers.explorer.widget.explore", fail)
    box.category.value = 1
    wait(box)
    assert "MemoryError" in box.words.value and box.shown is None


def test_the_real_network_comes_first_unless_another_is_asked_for_or_it_is_not_here(monkeypatch):
    box = explorer()
    wait(box)
    assert box.net.value == NETS[0] == "efficientnet_lite0" and box.shown.seen.shape == (224, 224, 3)

    def load(name):
        if name == NETS[0]:
            raise ModuleNotFoundError("The real network's weights are not here.")
        return load_classifier(name)

    monkeypatch.setattr("helpers.explorer.widget.load_classifier", load)
    box = explorer()
    wait(box)
    assert box.net.value == "shapes_resnet" and box.shown


def test_an_explorer_that_cannot_be():
    with pytest.raises(ValueError, match="There is no method 'sobl'; choose one of"):
        explorer("shapes_resnet", beside="sobl")
    with pytest.raises(ValueError, match="There is no method 'grad_cm'; choose one of"):
        explorer(method="grad_cm")
    with pytest.raises(ValueError, match="There is no classifier 'shapes_resnt'; did you mean"):
        explorer("shapes_resnt")


def test_a_photograph_for_a_net_of_shapes_is_refused_with_a_sentence_and_taken_by_the_real_one(box):
    picture = photograph("chelsea").image
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "png")
    box.read(({"name": "cat.png", "content": data.getvalue(), "type": "image/png", "size": 1},))
    wait(box)
    assert "This picture has 451 x 300 pixels" in wrong(box), "width before height"
    assert "knows ten shapes on drawings of 128 x 128" in wrong(box) and len(images(box)) == 1
    assert "For photographs, choose efficientnet_lite0 in the list network." in wrong(box)
    box.net.value = "efficientnet_lite0"
    wait(box)
    assert "tiger cat" in box.words.value and len(images(box)) == 2
