"""Grades for explanations: against the truth, beside blind baselines, and against the network itself.

Maps are float [N, H, W] in the size of the picture (``pixel_map`` and ``upsample`` of :mod:`helpers.attribution` make
them), masks bool [N, H, W]; every grade is one number for each picture, [N]. A map that a grade says nothing about gets
NaN, never a number and never silence: :func:`interval` refuses NaN, :func:`constant` finds the maps that say nothing.
What runs the network keeps the contract of the attribution methods: the model is left as it was, targets are settled
once on the whole picture, ``chunk`` bounds the memory, and a batch is its pictures one by one.

:func:`scoreboard` grades all methods of the course at once, here or on a cluster; :func:`markdown` writes its table.
"""

from helpers.evaluation.baselines import absolute_input, centred_gaussian, random_maps, sobel
from helpers.evaluation.board import scoreboard
from helpers.evaluation.disturbance import infidelity, sensitivity_max
from helpers.evaluation.faithfulness import area, deletion, insertion
from helpers.evaluation.grades import GRADES, LESS_IS_BETTER, grade, markdown, summary
from helpers.evaluation.imputation import imputed
from helpers.evaluation.perturbations import noise, squares
from helpers.evaluation.randomisation import randomised
from helpers.evaluation.rows import BASELINES, METHODS, explain
from helpers.evaluation.scores import constant, interval, mass_accuracy, pointing, rank_accuracy, rank_correlation

__all__ = [
    "BASELINES",
    "GRADES",
    "LESS_IS_BETTER",
    "METHODS",
    "absolute_input",
    "area",
    "centred_gaussian",
    "constant",
    "deletion",
    "explain",
    "grade",
    "imputed",
    "infidelity",
    "insertion",
    "interval",
    "markdown",
    "mass_accuracy",
    "noise",
    "pointing",
    "random_maps",
    "randomised",
    "rank_accuracy",
    "rank_correlation",
    "scoreboard",
    "sensitivity_max",
    "sobel",
    "squares",
    "summary",
]
