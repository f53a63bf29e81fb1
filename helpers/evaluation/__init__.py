"""Grades for explanations: against the truth, beside blind baselines, and against the network itself.

Maps are float [N, H, W] in the size of the picture (``pixel_map`` and ``upsample`` of :mod:`helpers.attribution` make
them), masks bool [N, H, W]; every grade is one number for each picture, [N]. A map that a grade says nothing about gets
NaN, never a number and never silence: :func:`interval` refuses NaN, :func:`constant` finds the maps that say nothing.
What runs the network keeps the contract of the attribution methods: the model is left as it was, targets are settled
once on the whole picture, ``chunk`` bounds the memory, and a batch is its pictures one by one.

:func:`explain` makes the maps of any method of the course by its name, :func:`score_maps` scores them where the truth
is known, :func:`score_table` puts many methods into one table.
"""

from helpers.evaluation.baselines import absolute_input, centred_gaussian, random_maps, sobel
from helpers.evaluation.disturbance import infidelity, noise, sensitivity_max, squares
from helpers.evaluation.faithfulness import area, deletion, insertion
from helpers.evaluation.imputation import imputed
from helpers.evaluation.localisation import LESS_IS_BETTER, SCORE_NAMES, score_maps, score_table, summary
from helpers.evaluation.methods import BASELINES, METHODS, explain
from helpers.evaluation.randomisation import randomised
from helpers.evaluation.scores import constant, hull, interval, mass_accuracy, pointing, rank_accuracy, rank_correlation

__all__ = [
    "BASELINES",
    "SCORE_NAMES",
    "LESS_IS_BETTER",
    "METHODS",
    "absolute_input",
    "area",
    "centred_gaussian",
    "constant",
    "deletion",
    "explain",
    "score_maps",
    "hull",
    "imputed",
    "infidelity",
    "insertion",
    "interval",
    "score_table",
    "mass_accuracy",
    "noise",
    "pointing",
    "random_maps",
    "randomised",
    "rank_accuracy",
    "rank_correlation",
    "sensitivity_max",
    "sobel",
    "squares",
    "summary",
]
