"""captum's, lime's and shap's calls for LIME, KernelSHAP and Shapley values of a picture's segments.

All get the same segments, a grid of squares, and the same number of coalitions. What hides a segment is zero. LIME's
random coalitions are handed to the libraries, so that all have the same regression to solve; KernelSHAP's and the
orders of the Shapley values are drawn by each on its own, and only their sum must be the same.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr

import torch
from torch import Tensor

from tools.bench.clock import quickest
from tools.bench.libraries import Peer, close
from tools.bench.subjects import Subject, borrowed

SIDE = 7  # 49 segments
SAMPLES = 200  # coalitions of LIME and KernelSHAP
ORDERS = 4  # of Shapley values, with 48 coalitions each
CHUNKS = (1, 16, 64)


def squares(s: Subject) -> Tensor:
    """Return segment numbers [H, W] of a grid of squares."""
    rows, columns = (torch.arange(side) * SIDE // side for side in s.x.shape[2:])
    return SIDE * rows[:, None] + columns


def coalitions() -> Tensor:
    """Return the coalitions that `attribution.lime` draws with seed 0, [SAMPLES, 49]."""
    found = torch.rand(SAMPLES, SIDE**2, generator=torch.Generator().manual_seed(0)) < 0.5
    found[0] = True
    return found.long()


def at_best(build: Callable[[Subject, int], Peer], s: Subject) -> Peer:
    peers = {str(chunk): build(s, chunk) for chunk in CHUNKS}
    return peers[quickest({chunk: peer.call for chunk, peer in peers.items()})]


def same_sum(s: Subject) -> Callable[[Tensor, Tensor], None]:
    """Return what raises AssertionError unless the segments' values have the same sum, however they were drawn."""
    segments = squares(s)
    share = 1 / segments.flatten().bincount()[segments]
    return lambda ours, theirs: close((ours * share).sum((1, 2)), (theirs.detach() * share).sum((1, 2)))


def captum_lime(s: Subject, at_once: int) -> Peer:
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import LimeBase

    segments, drawn = squares(s), coalitions()

    def rows(x: Tensor, **_: object):
        yield from drawn[:, None]

    def shown(z: Tensor, x: Tensor, **_: object) -> Tensor:
        return x * z[0][segments][None, None]

    def weight(x: Tensor, version: Tensor, z: Tensor, **_: object) -> float:
        return float(torch.exp(-(1 - z.float().mean().sqrt()).square() / (2 * 0.25**2)))

    library = LimeBase(borrowed(s.model), SkLearnRidge(alpha=1.0), weight, rows, True, shown, None)

    def call() -> Tensor:
        found = [
            library.attribute(x[None], target=int(c), n_samples=SAMPLES, perturbations_per_eval=at_once)
            for x, c in zip(s.x, s.target, strict=True)
        ]
        return torch.cat(found)[:, segments]

    return Peer(call, close)


def lime_package(s: Subject) -> Peer:
    import numpy as np
    from lime.lime_image import LimeImageExplainer

    segments, model, drawn = squares(s), borrowed(s.model), coalitions().numpy()

    class Drawn(np.random.RandomState):
        def randint(self, *_: object, **__: object) -> np.ndarray:
            return drawn.flatten()

    explainer = LimeImageExplainer(random_state=Drawn())

    @torch.no_grad()
    def call() -> Tensor:
        found = []
        for x, c in zip(s.x, s.target.tolist(), strict=True):

            def scores(batch: np.ndarray, c: int = c) -> np.ndarray:
                return model(torch.from_numpy(batch).permute(0, 3, 1, 2).float())[:, [c]].numpy()

            with redirect_stderr(io.StringIO()):  # its bar
                explained = explainer.explain_instance(
                    x.permute(1, 2, 0).double().numpy(), scores, labels=(0,), top_labels=None, hide_color=0,
                    num_samples=SAMPLES, batch_size=50, segmentation_fn=lambda _: segments.numpy(),
                )  # fmt: skip
            values = dict(explained.local_exp[0])
            found.append(torch.tensor([values[k] for k in range(SIDE**2)])[segments])
        return torch.stack(found).float()

    return Peer(call, close)


def captum_kernel_shap(s: Subject, at_once: int) -> Peer:
    from captum.attr import KernelShap

    library, segments = KernelShap(borrowed(s.model)), squares(s)

    def call() -> Tensor:
        found = [
            library.attribute(
                x[None], target=int(c), feature_mask=segments[None, None], n_samples=SAMPLES,
                perturbations_per_eval=at_once,
            )[:, 0]
            for x, c in zip(s.x, s.target, strict=True)
        ]  # fmt: skip
        return torch.cat(found)

    return Peer(call, same_sum(s))


def shap_package(s: Subject) -> Peer:
    import numpy as np
    import shap

    segments, model = squares(s), borrowed(s.model)

    @torch.no_grad()
    def call() -> Tensor:
        found = []
        for x, c in zip(s.x, s.target.tolist(), strict=True):

            def worth(z: np.ndarray, x: Tensor = x, c: int = c) -> np.ndarray:
                rows = torch.from_numpy(z).float().split(50)
                return torch.cat([model(x * part[:, segments][:, None])[:, c] for part in rows]).numpy()

            game = shap.KernelExplainer(worth, np.zeros((1, SIDE**2)))
            values = game.shap_values(np.ones((1, SIDE**2)), nsamples=SAMPLES, l1_reg=False, silent=True)
            found.append(torch.from_numpy(values[0])[segments])
        return torch.stack(found).float()

    return Peer(call, same_sum(s))


def captum_shapley(s: Subject, at_once: int) -> Peer:
    from captum.attr import ShapleyValueSampling

    library, segments = ShapleyValueSampling(borrowed(s.model)), squares(s)

    @torch.no_grad()
    def call() -> Tensor:
        options = {"feature_mask": segments[None, None], "n_samples": ORDERS, "perturbations_per_eval": at_once}
        return library.attribute(s.x, target=s.target, **options)[:, 0]

    return Peer(call, same_sum(s))
