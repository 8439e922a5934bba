"""`rag adapt`: learn from one's own questions how they differ from the passages that answer them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import console, knowledge_base, notify, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.evaluation.adapting import Lesson, Trial
    from rag.evaluation.datasets import Question
    from rag.knowledge_base import KnowledgeBase


def adapt(
    questions: Annotated[
        Path | None,
        typer.Argument(help="Questions, JSONL of question, source and quote.", show_default=False),
    ] = None,
    kb: flags.Kb = None,
    force: Annotated[bool, typer.Option("--force", help="Keep it even if it does not pay.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Go back to the model's own question vectors.")] = False,
    download: flags.Download = None,
    json: flags.Json = False,
) -> None:
    """Learn from own questions to find what they ask for: a rotation of question vectors, kept only if it pays.

    Each question is searched with a rotation that was learnt from others. It pays if the mean reciprocal rank of the
    quoted passage gains more than chance can explain. Documents are not embedded again.

    Example: rag adapt questions.jsonl --kb notes.kb
    """
    if remove == (questions is not None):
        raise errors.UsageProblem("Name a file of questions, or --remove: one of them.")
    with knowledge_base(kb, download=download) as base:
        if questions is None:
            _remove(base, json)
        else:
            _learn(base, questions, force, json)


def _remove(base: "KnowledgeBase", json: bool) -> None:
    from rag.store.adapter_file import remove_adapter

    removed = remove_adapter(base.store.path)
    if json:
        print_json({"removed": removed})
    else:
        print("Removed." if removed else "There is none.")


def _learn(base: "KnowledgeBase", path: Path, force: bool, json: bool) -> None:
    from rag.evaluation.adapting import taught_turn
    from rag.evaluation.datasets import read_questions
    from rag.store.adapter_file import save_adapter

    taught, tried = _tried(base, read_questions(path))
    turn = taught_turn(base, taught) if tried.pays or force else None
    if turn is not None:
        save_adapter(base.store.path, turn, base.store.identity)
    if json:
        ways = {"hybrid": tried.hybrid.to_dict(), "vector": tried.vector.to_dict()}
        print_json({"questions": tried.questions, **ways, "pays": tried.pays, "saved": turn is not None})
        return
    _print(tried)
    if turn is not None:
        notify(f"Kept in {base.store.path}. `rag adapt --remove` undoes it.")
    elif force:
        notify("Not kept: no rotation ranks these questions' passages better.")
    else:
        notify(
            "Not kept: on questions that it was not learnt from, it gains no more than chance can. --force keeps it."
        )


def _tried(base: "KnowledgeBase", questions: "Sequence[Question]") -> "tuple[list[Lesson], Trial]":
    """The lessons, and what was learnt from them held against the rest, with progress on stderr."""
    from rich.progress import Progress

    from rag.evaluation.adapting import lessons, trial

    out = console(stderr=True)
    with Progress(console=out, disable=not out.is_terminal, transient=True) as progress:
        steps = progress.add_task("embedding questions", total=sum(question.answerable for question in questions))
        taught: list[Lesson] = []
        for lesson in lessons(base, questions):
            taught.append(lesson)
            progress.advance(steps)
        steps = progress.add_task("learning and searching", total=len(taught))
        return taught, trial(base, taught, lambda: progress.advance(steps))


def _print(tried: "Trial") -> None:
    from rag.display import print_table

    print_table(console(), tried.columns, tried.table())
