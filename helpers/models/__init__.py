"""The course's networks, and one function that loads them, or torchvision's ImageNet networks, with weights."""

from helpers.models.efficientnet_lite0 import EfficientNetLite0
from helpers.models.load import Classifier, load_classifier
from helpers.models.networks import MnistCNN, MnistDNN, ShapesResNet, ShapesVGG

__all__ = ["Classifier", "EfficientNetLite0", "MnistCNN", "MnistDNN", "ShapesResNet", "ShapesVGG", "load_classifier"]
