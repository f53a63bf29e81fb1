"""The checkers of the exercises, lesson 06; each question has a module of its own."""

from helpers.checks.exercises_q1 import check_q1
from helpers.checks.exercises_q2 import check_q2_cam, check_q2_count
from helpers.checks.exercises_q3 import check_q3_cam, check_q3_grades, grade

__all__ = ["check_q1", "check_q2_cam", "check_q2_count", "check_q3_cam", "check_q3_grades", "grade"]
