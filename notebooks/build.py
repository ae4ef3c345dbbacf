"""Write the notebooks from their texts: `make notebooks`.

Each notebook is paired with a text of the same name in the percent format of Jupytext, which is
what people review and edit. The notebook follows from it: cells in the same order, without outputs,
with ids that count the cells, so that an unchanged text gives the same file.
"""

from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).parent
NAMES = ("quickstart", "annotate_your_data", "students_on_one_gpu")


def notebook(text: Path) -> str:
    """Return the content of the notebook of a text."""
    made = jupytext.read(text, fmt="py:percent")
    for number, cell in enumerate(made.cells, start=1):
        cell["id"] = f"cell-{number}"
    made.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
    made.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return nbformat.writes(nbformat.validator.normalize(made)[1], indent=1) + "\n"


def main() -> None:
    """Write every notebook whose text has changed."""
    for name in NAMES:
        path, content = FOLDER / f"{name}.ipynb", notebook(FOLDER / f"{name}.py")
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            print(f"wrote {path.relative_to(FOLDER.parent)}")


if __name__ == "__main__":
    main()
