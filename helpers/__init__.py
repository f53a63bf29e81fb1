"""The small package behind the lessons.

data, models, training; hooks, attribution, synthesis, evaluation; plotting, checks, explorer, report.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts: its threads wait without using the processor
