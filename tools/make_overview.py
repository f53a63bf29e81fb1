"""Draw the picture of README.md: one scene, two questions, and the number that checks the answers."""

from pathlib import Path

from helpers import attribution, plotting
from helpers.data import shapes
from helpers.models import load_classifier

ROOT = Path(__file__).resolve().parents[1]

SEED, NUMBER = 11, 9  # a scene that reads well on a projector


def main() -> None:
    """Write notebooks/figures/overview.png."""
    classifier = load_classifier("shapes_resnet")
    image, labels, both = (part[NUMBER] for part in shapes.two(NUMBER + 1, SEED, categories=[3, 5]))
    x = classifier.preprocess(image)
    logits = classifier.model(x)[0]
    heats, masks = {}, []
    for category, mask in zip(labels, both, strict=True):
        heat = attribution.cam(classifier.model, x, int(category), layer=classifier.layer)[0]
        total = heat.mean() + classifier.model.fc.bias[category]
        name = classifier.categories[category]
        heats[f"for {name}: mean of the map + bias = {total:.4f}; logit = {logits[category]:.4f}"] = heat
        masks.append(mask)
    figure = plotting.grid(
        [None, *heats.values()],
        ["one scene, two questions", *heats],
        over=[image],
        masks=[None, *masks],
        signed=True,
        shared_scale=True,
    )
    figure.savefig(ROOT / "notebooks" / "figures" / "overview.png", dpi=160)


if __name__ == "__main__":
    main()
