"""Notebooks under test: the numbers in their text are checked too, each text cell after the cells above it."""

from collections import defaultdict
from collections.abc import Iterator

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tools.bound_numbers import Bound, bound_numbers, checking_code

collect_code_cells = IPyNbFile.collect


def collect(self: IPyNbFile) -> Iterator[pytest.Item]:
    """Yield nbval's items of the code cells, and behind them one for each text cell that binds numbers."""
    code_cells = iter(list(collect_code_cells(self)))
    for number, cell in enumerate(self.nb.cells):
        if cell.cell_type == "code":
            yield next(code_cells)
            continue
        if bounds := [bound for bound in bound_numbers(cell.source) if isinstance(bound, Bound)]:
            check = nbformat.v4.new_code_cell(checking_code(bounds))
            yield IPyNbCell.from_parent(
                self, name=f"Text {number}", cell_num=number, cell=check, options=defaultdict(bool)
            )


IPyNbFile.collect = collect
