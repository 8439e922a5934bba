"""`rag eval make`: questions for `rag eval` from the user's own documents."""

import json as json_
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import console, knowledge_base, notify, print_json

if TYPE_CHECKING:
    from rag.evaluation.question_maker import Tried


def make(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the questions go: a JSONL file.")] = Path(
        "questions.jsonl"
    ),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many questions the file is to have.")] = 50,
    kb: flags.Kb = None,
    model: flags.ChatModel = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    json: flags.Json = False,
) -> None:
    """Make questions about the documents with the chat model, each with the sentence that answers it.

    Passages are taken from all documents in turn. A question is kept if its answer stands in the passage word for
    word, if it is clear by itself, if no other passage seems to answer it, and if the model answers it so again; the
    file beside the questions, *.tried.jsonl, says why others were not. Each line is written as it comes, and the same
    command goes on where it stopped. Read the questions, mend or delete lines, and then: rag eval questions.jsonl

    Such questions share words with their passages: their figures serve to compare, and promise nothing.

    Example: rag eval make --kb notes.kb -n 50 -o questions.jsonl
    """
    from rag.evaluation.question_maker import make_questions
    from rag.lmstudio.client import LMStudio

    made = QuestionFile.open(output.expanduser())
    if made.questions:
        notify(f"{output} has {len(made.questions)} questions; going on until there are {count}.")
    with (
        knowledge_base(kb, chat_model=model, ttl_s=ttl, download=download) as base,
        LMStudio(settings=base.settings, notify=notify) as server,
        _progress(count, len(made.questions)) as advance,
    ):
        try:
            if len(made.questions) < count:
                for tried in make_questions(base, server, but=made.tried, earlier=made.questions):
                    made.add(tried)
                    advance(len(made.questions), made.rejected.total())
                    if len(made.questions) >= count:
                        break
                else:
                    notify(f"Every passage of {base.path} that states a fact has been tried.")
        finally:  # also at Ctrl-C, or when the server is gone: what is written stays written
            if json:
                print_json(made.to_dict())
            elif made.tried:
                _print(made)


@dataclass(slots=True)
class QuestionFile:
    """The questions on disk, and beside them which passages were tried: a line each, written as it comes."""

    path: Path
    questions: list[str]
    tried: set[str]
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, path: Path) -> "QuestionFile":
        """The file as an earlier run left it, or nothing yet. Raises UsageProblem where it holds something else."""
        from rag.evaluation.datasets import read_questions, read_rows

        if not path.absolute().parent.is_dir():
            raise errors.SourceNotFound(f"There is no folder {path.absolute().parent} to write the questions into.")
        questions = read_questions(path) if path.exists() else []
        tried = {question.id for question in questions}
        if cls.tried_path(path).exists():
            tried |= {str(row["id"]) for _, row in read_rows(cls.tried_path(path), "id")}
        return cls(path, [question.question for question in questions], tried)

    @staticmethod
    def tried_path(path: Path) -> Path:
        """Where the tried passages are: `questions.tried.jsonl` beside `questions.jsonl`."""
        return path.with_name(f"{path.stem}.tried.jsonl")

    def add(self, tried: "Tried") -> None:
        """Write what came of one passage: a question that is kept into its file, and the passage as tried."""
        if tried.reason:
            self.rejected[tried.reason] += 1
        else:
            _append(self.path, tried.to_dict())
            self.questions.append(tried.question)
            self.kept += 1
        line = {"id": tried.passage.id, "source": tried.passage.hit.source, "rejected": tried.reason or None}
        _append(self.tried_path(self.path), line | {"question": tried.question, "answer": tried.answer})
        self.tried.add(tried.passage.id)

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag eval make --json`, which scripts may rely on."""
        return {
            "output": str(self.path),
            "questions": len(self.questions),
            "made": self.kept + self.rejected.total(),
            "kept": self.kept,
            "rejected": dict(self.rejected.most_common()),
        }


def _append(path: Path, line: dict[str, Any]) -> None:
    try:
        with path.open("a+b") as file:
            file.seek(0, 2)
            if file.tell():
                file.seek(-1, 2)
                apart = b"" if file.read(1) == b"\n" else b"\n"  # an editor may have left the last line open
            else:
                apart = b""
            file.write(apart + json_.dumps(line, ensure_ascii=False).encode() + b"\n")
    except OSError as exc:
        raise errors.UsageProblem(f"{path} cannot be written ({exc.strerror}).") from exc


@contextmanager
def _progress(count: int, already: int) -> "Iterator[Callable[[int, int], None]]":
    """A bar on a terminal's stderr; what it yields takes how many there are now and how many were rejected."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    out = console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as bar:
        task = bar.add_task("questions", total=count, completed=already)
        yield lambda kept, rejected: bar.update(task, completed=kept, description=f"questions, {rejected} rejected")


def _print(made: QuestionFile) -> None:
    asked = made.kept + made.rejected.total()
    print(f"{made.kept} questions kept of {asked} made; {made.path} has {len(made.questions)}.")
    for reason, times in made.rejected.most_common():
        print(f"{times} rejected: {reason}")
