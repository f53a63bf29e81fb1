"""What is graded of a notebook's file: its code cells. A student's process reads it, under the limits of its run."""

import json

import nbformat

MOST_CELLS, MOST_LETTERS = 1000, 300_000  # of code


def cells_of(content: bytes) -> list[str]:
    """Return the code cells of a notebook that are not blank.

    Args:
        content: the file as it is, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark. Outputs of any size
            are left out before anything is looked at.

    Raises:
        ValueError: it is no notebook, or one with too much code.
    """
    try:
        notebook = json.loads(content)
        for sheet in [notebook, *notebook.get("worksheets", [])]:  # the sheets are those of old notebooks
            for cell in sheet.get("cells", []):
                if "outputs" in cell:
                    cell["outputs"] = []
        found = nbformat.reads(json.dumps(notebook), as_version=4).cells
        code = [str(cell.source) for cell in found if cell.cell_type == "code" and cell.source.strip()]
    except MemoryError:
        raise
    except Exception:  # nbformat raises of many kinds
        raise ValueError("is no notebook, or a damaged one") from None
    if len(code) > MOST_CELLS or sum(map(len, code)) > MOST_LETTERS:
        raise ValueError(f"holds more than {MOST_CELLS} code cells, or more than {MOST_LETTERS} letters of code")
    return code
