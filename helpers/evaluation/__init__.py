"""Scores for explanations: against masks, beside baselines without the network, and by experiments on it.

Maps are float [N, H, W] in the size of the picture (``pixel_map`` and ``upsample`` of :mod:`helpers.attribution` make
them), masks bool [N, H, W]; every score is one number for each picture, [N]. Where a score is not defined for a map it
is NaN: :func:`interval` refuses NaN, and :func:`constant` finds the maps that have one value everywhere. What runs the
network keeps the rules of the attribution methods: the model is left as it was, the class is chosen once, on the
unchanged picture, ``chunk`` bounds the memory, and a batch is its pictures one by one.

:func:`explain` makes the maps of any method of the course by its name, :func:`score_maps` scores them where the truth
is known, :func:`score_table` puts many methods into one table. :func:`concept_vectors`, :func:`tcav`, :func:`decompose`
and :func:`dissect` look for concepts in feature maps.
"""

from helpers.evaluation.baselines import absolute_input, centred_gaussian, mean_of_maps, random_maps, sobel
from helpers.evaluation.concepts import (
    ConceptVectors,
    Decomposition,
    Dissection,
    Tcav,
    concept_vectors,
    decompose,
    dissect,
    null_p_value,
    tcav,
)
from helpers.evaluation.disturbance import infidelity, noise, sensitivity_max, squares
from helpers.evaluation.faithfulness import area, deletion, insertion
from helpers.evaluation.grid_pointing import GridPointing, grid_pointing
from helpers.evaluation.imputation import imputed
from helpers.evaluation.localisation import LESS_IS_BETTER, SCORE_NAMES, score_maps, score_table, summary
from helpers.evaluation.methods import BASELINES, CLASS_BLIND, METHODS, explain
from helpers.evaluation.randomisation import randomised
from helpers.evaluation.scores import constant, hull, interval, mass_accuracy, pointing, rank_accuracy, rank_correlation

__all__ = [
    "BASELINES",
    "CLASS_BLIND",
    "ConceptVectors",
    "Decomposition",
    "Dissection",
    "GridPointing",
    "SCORE_NAMES",
    "LESS_IS_BETTER",
    "METHODS",
    "Tcav",
    "absolute_input",
    "area",
    "centred_gaussian",
    "concept_vectors",
    "constant",
    "decompose",
    "deletion",
    "dissect",
    "explain",
    "score_maps",
    "grid_pointing",
    "hull",
    "imputed",
    "infidelity",
    "insertion",
    "interval",
    "score_table",
    "mass_accuracy",
    "mean_of_maps",
    "noise",
    "null_p_value",
    "pointing",
    "random_maps",
    "randomised",
    "rank_accuracy",
    "rank_correlation",
    "sensitivity_max",
    "sobel",
    "squares",
    "summary",
    "tcav",
]
