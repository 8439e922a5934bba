"""An answer while it comes: a draft that the checked answer replaces, in a notebook, on a terminal or in a pipe."""

from collections.abc import Callable, Generator
from typing import Any

from rag import notebook
from rag.answer import Event, Said
from rag.display import printable
from rag.display_answer import FileOf, print_answer
from rag.display_html import html_draft, html_frame, html_list, html_note
from rag.types import Answer, Cut, Step

_THOUGHT_SHOWN = 400  # characters, of what a model thinks before it answers
_BROKEN_OFF = "This was ended before it was checked."


def live(events: Generator[Event, None, None], file_of: FileOf = lambda source: None) -> Answer:
    """Show an answer as it comes, `live(kb.ask_stream("…"))`, and return it: a conversation's too.

    In a notebook it stands below the cell, on a terminal its sources are links where `file_of` says which file is
    meant (KnowledgeBase.file_of), and in a pipe it is printed at its end. An interrupt shows what was said so far and
    is raised as a KeyboardInterrupt, so that no later cell runs.
    """
    cell = notebook.output()
    answer = _in_cell(events, cell) if cell else print_streamed(events, file_of)
    if answer.cut is Cut.INTERRUPTED:
        raise KeyboardInterrupt
    return answer


def print_streamed(events: Generator[Event, None, None], file_of: FileOf) -> Answer:
    """Show the model's words as a draft while they come; the checked answer takes the draft's place."""
    from rich.console import Console

    out = Console(highlight=False, markup=False, emoji=False)
    answer = _on_terminal(events, out) if out.is_terminal else answered(events)
    print_answer(out, answer, file_of)
    return answer


def answered(events: Generator[Event, None, None], show: Callable[[Said | Step], None] = lambda event: None) -> Answer:
    """The answer; after an interrupt what there is of it, if there is anything."""
    answer: Answer | None = None
    try:
        for event in events:
            if isinstance(event, Answer):
                answer = event
            else:
                show(event)
    except KeyboardInterrupt as interrupt:
        if answer is None:  # it came while the draft was being shown
            last = events.throw(interrupt)
            assert isinstance(last, Answer)
            return last
    assert answer is not None
    return answer


class _Draft:
    """What has come so far, before anything is checked."""

    def __init__(self) -> None:
        self.text = self.thought = ""
        self.steps: list[str] = []

    def hear(self, event: Said | Step) -> None:
        if isinstance(event, Step):
            self.steps.append(str(event))
            return
        self.text = event.text if event.again else self.text + event.text
        self.thought = event.reasoning if event.again else self.thought + event.reasoning

    @property
    def said(self) -> str:
        return printable(self.text) if self.text.strip() else ""

    @property
    def last_thought(self) -> str:
        return printable(self.thought)[-_THOUGHT_SHOWN:]


def _on_terminal(events: Generator[Event, None, None], out: Any) -> Answer:
    from rich.live import Live
    from rich.text import Text

    draft = _Draft()
    with Live(Text("…", style="dim"), console=out, transient=True, refresh_per_second=12) as shown:

        def show(event: Said | Step) -> None:
            draft.hear(event)
            shown.update(
                Text(draft.said, style="dim") if draft.said else Text(draft.last_thought or "…", style="dim italic")
            )

        return answered(events, show)


def _in_cell(events: Generator[Event, None, None], cell: notebook.Output) -> Answer:
    draft = _Draft()
    cell.show(html_frame([html_draft("…")]), "…")
    answer: Answer | None = None

    def show(event: Said | Step) -> None:
        draft.hear(event)
        words = draft.said or draft.last_thought or "…"
        cell.show(html_frame([*_steps(draft), html_draft(words)]), words, at_once=False)

    try:
        answer = answered(events, show)
    finally:
        if answer is not None:
            cell.show(answer._repr_html_(), str(answer))
        else:
            parts = [*_steps(draft), html_draft(draft.said), html_note(_BROKEN_OFF)]
            cell.show(html_frame(parts), f"{draft.said}\n({_BROKEN_OFF})")
    return answer


def _steps(draft: _Draft) -> list[str]:
    return [html_list(f"{len(draft.steps)} searches", draft.steps)] if draft.steps else []
