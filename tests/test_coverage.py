"""What a lesson has to teach, whatever else is written anew in it: its key, a call, a number or a phrase, is there."""

import re

import nbformat
import pytest

from tools import lessons

KEYS = {  # lesson -> patterns, each of which its text or its code holds
    "start_here": [
        r"99 ?%",  # "99 % sure, but why?": the scan for cancer
        r"cancer|tumou?r",
        r"understand",
        r"tun(e|ing)|improv",
        r"fail",
        r"explain",
        r"\btanks?\b",
        r"structure",  # the three families of methods
        r"activations?",
        r"gradients?",
    ],
    "look_inside": [
        r"print\(\w*net|print\(\w*model",
        r"torchsummaryX",
        r"AlexNet",
        r"61[,.]?100[,.]84",
        r"draw_network",
        r"features\.3|features\[3\]",
        r"register_forward_hook",
        r"100, 10\)",  # the first hundred feature maps, in ten rows
        r"first hundred",
        r"\bleak|grows with (each|every) call",
    ],
    "class_prototypes": [
        r"784",
        r"512",
        r"0\.1\b",
        r"10,?_?000",
        r"Adam",
        r"eval\(\)",
        r"requires_grad_\(False\)|frozen|freeze",
        r"cross.entropy",
        r"mean squared|mse",
        r"zeros",
        r"colou?r ?bar",
    ],
    "saliency": [
        r"Taylor",
        r"linear",
        r"32.{0,40}64.{0,40}128",
        r"625",
        r"dropout",
        r"squared?|\.square\(\)|absolute|\.abs\(\)",
        r"guided",
        r"deconvnet",
        r"relevance",
        r"perturb",
    ],
    "cam": [
        r"global average pooling",
        r"ResNet.?18",
        r"SqueezeNet",
        r"DenseNet.?161",
        r"register_forward_hook|capture\(",
        r"einsum",
        r"overlay|compare\(",
        r"top\(",
    ],
    "grad_cam": [
        r"VGG.?19",
        r"step 1|step one|\*\*1\.",
        r"step 4|\*\*4\.",
        r"backward|autograd\.grad",
        r"overlay",
        r"\bCAM\b",
    ],
    "exercises": [
        r"8\.png",
        r"prototype",
        r"\b20\b.*maps|maps.*\b20\b",
        r"intermediate|middle",
        r"near the input|early",
    ],
    "occlusion": [r"grey|gray", r"probability", r"class named|predicted class", r"bincount|counts|how often"],
    "better_gradients": [
        r"guided",
        r"positive",
        r"negative",
        r"gradient_x_input|gradient (x|times|×) (input|image|picture)",
        r"integrated_gradients",
        r"smooth_grad",
        r"\b50\b",
        r"Taylor",
    ],
    "cam_family": [
        r"score_cam|Score-CAM",
        r"layer_cam|LayerCAM",
        r"guided_grad_cam|Guided Grad-CAM",
        r"Grad-CAM\+\+",
        r"Ablation",
        r"XGrad",
        r"Eigen",
        r"FullGrad",
        r"deconvnet",
        r"pytorch_grad_cam|grad-cam",
    ],
    "lime_and_shap": [r"LIME", r"KernelSHAP", r"Shapley", r"superpixel", r"\bslic\b|SLIC", r"baseline"],
    "gradient_free_cams": [r"Score-CAM", r"Ablation-CAM", r"Eigen-CAM", r"FullGrad", r"uncentred", r"align_corners"],
    "relevance": [r"\bLRP\b", r"VGG", r"epsilon|ε", r"depth"],
    "feature_visualisation": [
        r"\bL1\b|l1=",
        r"\bL2\b|l2=",
        r"blur",
        r"clip",
        r"conv5_1",
        r"\b45\b",
        r"\b271\b",
        r"\b363\b",
        r"\b489\b",
        r"guided",
        r"FlashTorch",
        r"flamingo",
    ],
    "dream_and_inversion": [r"deep_dream|deep dream", r"octave", r"invert", r"total variation", r"alpha|α"],
    "concepts": [
        r"counterfactual",
        r"TCAV",
        r"[Hh]eld-out",
        r"[Nn]ull concept",
        r"NMF",
        r"sparse autoencoder",
        r"shuffled",
    ],
    "transfer_learning": [
        r"ResNet.?34",
        r"\bcat",
        r"\bdog",
        r"error rate",
        r"class Hook|class \w*Hook",
        r"__enter__|context manager",
        r"\.remove\(\)",
        r"backward_hook|backward hook",
        r"output\[0, \w+\]",
        r"decode",
        r"vocab",
        r"keepdim",
    ],
    "words": [r"review", r"\bword", r"decid"],
    "your_own_network": [
        r"weights_only",
        r"\.logits",
        r"propose_layers",
        r"red and blue",
        r"which method",
        r"completeness",
        r"class sensitivity",
        r"randomisation",
        r"deletion",
        r"mosaics",
        r"shortcut",
        r"python -m helpers\.report",
    ],
}


@pytest.mark.parametrize(("lesson", "key"), [(lesson, key) for lesson, keys in KEYS.items() for key in keys])
def test_the_lesson_has_it(lesson, key):
    text = "\n\n".join(cell.source for cell in nbformat.read(lessons.path(lesson), as_version=4).cells)
    assert re.search(key, text, re.I), f"lesson *{lesson}* no longer has {key}"


@pytest.mark.parametrize("name", [name for name in lessons.ORDER if name != "exercises"])
def test_every_lesson_names_where_to_read_on(name):
    text = "\n\n".join(cell.source for cell in nbformat.read(lessons.path(name), as_version=4).cells)
    assert re.search(r"Further reading|arXiv|doi\.org", text), "no paper or page to read on"


LIBRARIES = {
    "saliency": "captum",
    "cam": "torchcam",
    "grad_cam": "pytorch_grad_cam|grad-cam|captum",
    "occlusion": "captum",
    "better_gradients": "captum",
    "lime_and_shap": "captum.*shap|shap.*captum|import shap",
    "cam_family": "pytorch_grad_cam|grad-cam",
    "gradient_free_cams": "pytorch_grad_cam|grad-cam",
    "relevance": "zennit",
    "feature_visualisation": "FlashTorch",
    "your_own_network": "captum",
}


@pytest.mark.parametrize(("lesson", "library"), LIBRARIES.items())
def test_a_library_for_the_method_is_named(lesson, library):
    """Nobody has to write it all by hand."""
    text = "\n\n".join(cell.source for cell in nbformat.read(lessons.path(lesson), as_version=4).cells)
    assert re.search(library, text)
