"""An output of a notebook's cell that changes while the cell runs. Only door to IPython, which may be absent."""

import sys
import time
from typing import Any

_PAUSE_S = 0.1  # a browser that draws every token falls behind


class Output:
    """A place below the running cell; what is shown there takes the place of what was."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = 0.0

    def show(self, html: str, text: str, *, at_once: bool = True) -> None:
        """Show this now; unless `at_once`, only if nothing was shown for a tenth of a second."""
        from IPython.display import display

        if not at_once and time.monotonic() - self._shown < _PAUSE_S:
            return
        data = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)
        self._shown = time.monotonic()


def output() -> Output | None:
    """A new output of the running cell; None where no notebook runs us, as on a terminal."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return Output() if getattr(shell, "kernel", None) else None
