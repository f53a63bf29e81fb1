"""Pictures made by a network: one descends on the pixels, not on the weights.

`prototypes` are class images held at their means, `ascent` makes what a unit wants to see, `dreams` change a photograph
until a layer says more, `inversion` asks which picture a layer could have seen. Pictures are floats throughout, in the
units that the network takes, from beginning to end; the model is left as it was, as in `helpers.attribution`.
"""

from helpers.synthesis.ascent import Ascent, maximise
from helpers.synthesis.dreams import deep_dream
from helpers.synthesis.inversion import Inversion, inversion_error, invert
from helpers.synthesis.objectives import (
    channel,
    energy,
    high_frequencies,
    logit,
    neuron,
    total_variation,
)
from helpers.synthesis.prototypes import Prototypes, class_means, class_prototypes
from helpers.synthesis.spaces import noise, random_view

__all__ = [
    "Ascent",
    "Inversion",
    "Prototypes",
    "channel",
    "class_means",
    "class_prototypes",
    "deep_dream",
    "energy",
    "high_frequencies",
    "inversion_error",
    "invert",
    "logit",
    "maximise",
    "neuron",
    "noise",
    "random_view",
    "total_variation",
]
