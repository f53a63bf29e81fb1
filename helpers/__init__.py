"""The small package behind the lessons.

data, models, training; hooks, attribution, synthesis, evaluation; plotting, checks.
"""
