"""The course's networks, and functions that load them, or torchvision's ImageNet networks, with weights."""

from helpers.models.efficientnet_lite0 import EfficientNetLite0
from helpers.models.load import Classifier, load_classifier, load_scenes
from helpers.models.networks import MnistCNN, MnistDNN, ShapesResNet, ShapesScenes, ShapesVGG
from helpers.models.vision_transformer import ShapesViT

__all__ = [
    "Classifier",
    "EfficientNetLite0",
    "MnistCNN",
    "MnistDNN",
    "ShapesResNet",
    "ShapesScenes",
    "ShapesVGG",
    "ShapesViT",
    "load_classifier",
    "load_scenes",
]
