"""How far an ingest has come, below a notebook's cell: one line that changes."""

from collections.abc import Callable

from ingest.report import Progress
from rag.display_html import html_progress
from rag.notebook import output


def progress_line() -> Callable[[Progress], None]:
    """What shows each Progress; it shows nothing where no notebook runs us."""
    cell = output()
    if cell is None:
        return lambda progress: None

    def show(progress: Progress) -> None:
        done, total = progress.files_done, progress.files_total
        cell.show(html_progress(done, total, str(progress)), str(progress))

    return show
