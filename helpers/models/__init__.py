"""The course's networks, and one door to them and to torchvision's ImageNet networks."""

from helpers.models.load import Classifier, load_classifier
from helpers.models.networks import MnistCNN, MnistDNN, ShapesResNet, ShapesVGG

__all__ = ["Classifier", "MnistCNN", "MnistDNN", "ShapesResNet", "ShapesVGG", "load_classifier"]
