"""Lists that show themselves as a table, in a notebook and on a terminal."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from rag.display import text_table
from rag.display_html import html_frame, html_grid, html_note
from rag.display_markdown import markdown_table

T = TypeVar("T")

_MOST = 200  # rows that are shown; a folder of papers has thousands


class Rows(list[T], Generic[T]):
    """A list; `cells` makes of each item what stands below the `columns`, of which `print` and notebooks show 200."""

    def __init__(self, items: Iterable[T], columns: Sequence[str], cells: Callable[[T], Sequence[object]]) -> None:
        super().__init__(items)
        self.columns = columns
        self.cells = cells

    def table(self) -> Iterator[Sequence[object]]:
        """All rows."""
        return map(self.cells, self)

    def __repr__(self) -> str:
        return "\n".join(filter(None, [text_table(self.columns, map(self.cells, self[:_MOST])), self._more]))

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return markdown_table(self.columns, map(self.cells, self[:_MOST])) + (f"\n{self._more}\n" if self._more else "")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        more = html_note(self._more) if self._more else ""
        return html_frame([html_grid(self.columns, map(self.cells, self[:_MOST])), more])

    @property
    def _more(self) -> str:
        return "none" if not self else f"and {len(self) - _MOST} more" if len(self) > _MOST else ""
