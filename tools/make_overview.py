"""Draw the picture of README.md: a wrong answer of a real network, and where it came from."""

from pathlib import Path

from helpers import attribution, plotting
from helpers.data import mosaics, photograph
from helpers.models import load_classifier

ROOT = Path(__file__).resolve().parents[1]

FOUR = ("coffee", "camera", "chelsea", "motorcycle")
SEED = 1  # of the mosaic


def main() -> None:
    """Write notebooks/figures/overview.jpg."""
    classifier = load_classifier("efficientnet_lite0")
    x = classifier.preprocess(photograph("astronaut"))
    ((answer, probability),) = classifier.top(x, 1)[0]
    portrait = attribution.cam(classifier.model, x, classifier.index(answer), layer=classifier.layer)[0]
    mosaic = mosaics(1, SEED, FOUR)[0]
    asked = mosaic.categories[3]
    quarter = attribution.cam(classifier.model, classifier.uncut(mosaic), asked, layer=classifier.layer)[0]
    figure = plotting.grid(
        [None, portrait, None, quarter],
        [
            f"'{answer}', says the network ({probability:.0%})",
            f"where its score for '{answer}' came from",
            "four photographs in one",
            f"asked for '{classifier.categories[asked]}' alone",
        ],
        over=[classifier.unprocess(x)[0]] * 2 + [mosaic.image] * 2,
        columns=4,
        signed=True,
        width=13,
    )
    figure.savefig(ROOT / "notebooks" / "figures" / "overview.jpg", dpi=90, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
