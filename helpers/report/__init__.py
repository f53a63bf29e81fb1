"""A network of one's own: which layer, is the input right, five checks of a map, and a report as one HTML page.

``python -m helpers.report MODEL PICTURES`` writes the page. :func:`propose_layers` names layers that can be explained,
:func:`inspect_input` looks at a network's input, :func:`five_checks` explains and checks, :func:`write_report` writes.
"""

from helpers.report.five_checks import Findings, Row, five_checks
from helpers.report.inputs import inspect_input
from helpers.report.layers import Layer, propose_layers
from helpers.report.loading import find_pictures, load_any
from helpers.report.page import write_report

__all__ = [
    "Findings",
    "Layer",
    "Row",
    "inspect_input",
    "find_pictures",
    "five_checks",
    "load_any",
    "propose_layers",
    "write_report",
]
