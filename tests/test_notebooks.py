"""The notebooks run from the first cell to the last, and say what they should."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rag.settings import Settings

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_runs(path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_HOST", settings.host)
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(str(output.get("text") or output.get("data")) for output in outputs)
    assert "exact" in shown
    assert "NOT EXACT" not in shown
    assert "The documents do not answer this." in shown


def test_notebooks_are_stored_without_outputs() -> None:
    """Outputs in a repository are stale, and may show what nobody meant to publish."""
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
