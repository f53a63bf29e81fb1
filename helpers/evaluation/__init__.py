"""Grades for explanations: against the truth, beside blind baselines, and against the network itself.

Maps are float [N, H, W] in the size of the picture (``pixel_map`` and ``upsample`` of :mod:`helpers.attribution` make
them), masks bool [N, H, W]; every grade is one number for each picture, [N]. A map that a grade says nothing about gets
NaN, never a number and never silence: :func:`interval` refuses NaN, :func:`constant` finds the maps that say nothing.
What runs the network keeps the contract of the attribution methods: the model is left as it was, targets are settled
once on the whole picture, ``chunk`` bounds the memory, and a batch is its pictures one by one.

The module :mod:`~helpers.evaluation.scoreboard` grades all methods of the course at once:
``from helpers.evaluation import scoreboard``, then ``scoreboard.scoreboard(...)`` and ``scoreboard.markdown(board)``.
"""

from helpers.evaluation import scoreboard
from helpers.evaluation.baselines import absolute_input, centred_gaussian, random_maps, sobel
from helpers.evaluation.disturbance import infidelity, sensitivity_max
from helpers.evaluation.faithfulness import area, deletion, insertion
from helpers.evaluation.imputation import imputed
from helpers.evaluation.perturbations import noise, squares
from helpers.evaluation.randomisation import randomised
from helpers.evaluation.scores import constant, interval, mass_accuracy, pointing, rank_accuracy, rank_correlation

__all__ = [
    "absolute_input",
    "area",
    "centred_gaussian",
    "constant",
    "deletion",
    "imputed",
    "infidelity",
    "insertion",
    "interval",
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
]
