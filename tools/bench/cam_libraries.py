"""torchcam's and the grad-cam package's calls for the same maps; the rules are those of libraries.py."""

from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from tools.bench.libraries import TOLERANCE, Peer, close
from tools.bench.subjects import Subject, borrowed

# --- torchcam ---


def torchcam_grad_cam(s: Subject) -> Peer:
    from torchcam.methods import GradCAM

    model, classes = borrowed(s.model), s.target.tolist()
    library = GradCAM(model, s.layer)
    return Peer(
        lambda: library(classes, model(s.x), normalized=False)[0], lambda ours, theirs: close(ours, theirs.relu())
    )


def torchcam_score_cam(s: Subject) -> Peer:
    from torchcam.methods import ScoreCAM

    class OursInOrder(ScoreCAM):
        """Scales the masks to [0, 1] after enlarging them, as the paper and ours do; torchcam only before."""

        def _upsample(self, maps: Tensor) -> Tensor:
            return self._normalize(super()._upsample(maps), 2)

    def caller(kind: type[ScoreCAM]) -> Callable[[], Tensor]:
        model, classes = borrowed(s.model), s.target.tolist()
        library = kind(model, s.score_layer)

        def call() -> Tensor:
            with torch.inference_mode():
                model(s.x)
            return library(classes, normalized=False)[0]

        return call

    return Peer(caller(ScoreCAM), lambda ours, _: close(ours, caller(OursInOrder)()))


# --- grad-cam ---


def scaled(maps: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return maps as the grad-cam package gives them: cut at zero, scaled, resized, scaled again."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    return scale_cam_image(scale_cam_image(maps.relu().numpy(), size[::-1]))


def grad_cam_package(method: str, s: Subject, layer: str, either_sign: bool = False) -> Peer:
    """Return a method of the grad-cam package; of a map ``either_sign`` each picture's better one is compared."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, targets = borrowed(s.model), [ClassifierOutputTarget(c) for c in s.target.tolist()]
    library = getattr(pytorch_grad_cam, method)(model, [model.get_submodule(layer)])

    def check(ours: Tensor, theirs: np.ndarray) -> None:
        gaps = [np.abs(scaled(m, s.x.shape[2:]) - theirs).max((1, 2)) for m in (ours, -ours)[: 1 + either_sign]]
        gap = np.min(gaps, 0).max()
        assert gap <= TOLERANCE, f"off by {gap:.2g} of the range"

    def call() -> np.ndarray:
        with mock.patch("torch.nn.UpsamplingBilinear2d", partial(torch.nn.Upsample, mode="bilinear")):
            return library(s.x, targets)  # Score-CAM's masks enlarged without aligned corners, as torchcam and ours do

    return Peer(call, check)
