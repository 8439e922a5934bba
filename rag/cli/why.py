"""`rag why`: at which stage a passage was lost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli.common import AtOption, JsonOption, KbOption, PathOption, WhereOption, console, knowledge_base, print_json
from rag.cli.questions import (
    DiversityOption,
    ExpandOption,
    LimitOption,
    ModeOption,
    QuestionArgument,
    RerankOption,
)
from rag.search.where import all_of

if TYPE_CHECKING:
    from rag.search.why import Explanation


def why(
    question: QuestionArgument,
    file: Annotated[str, typer.Argument(help="A document as `rag ls` names it, its file, or the end of either.")],
    text: Annotated[str, typer.Option(help="Words of the passage that is meant; else it is the best one.")] = "",
    kb: KbOption = None,
    at: AtOption = None,
    limit: LimitOption = None,
    where: WhereOption = None,
    path: PathOption = None,
    mode: ModeOption = "hybrid",
    diversity: DiversityOption = None,
    rerank: RerankOption = None,
    expand: ExpandOption = None,
    search: Annotated[
        bool, typer.Option("--search", help="Explain `rag search`: without the floor and the context of an answer.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Tell at which stage a passage was lost on its way into an answer, and what to do about it.

    Example: rag why "How long is the warranty?" terms.docx --text "covered for five years"
    """
    from rag.search.why import why as explained

    with knowledge_base(kb, at) as base:
        explanation = explained(
            base,
            question,
            file,
            text=text,
            answer=not search,
            unread=_unread,
            limit=limit,
            mode=mode,
            diversity=diversity,
            rerank=rerank,
            expand=expand,
            where=all_of(where or ()),
            paths=path or (),
        )
    if json:
        print_json(explanation.to_dict())
    else:
        _print(console(), explanation)


def _unread(file: Path, root: Path) -> str:
    """Why an ingest of a folder leaves a file in it out; "" where it does not."""
    from ingest.filters import NO_FILTER, why_absent
    from ingest.parse import supported

    reason = why_absent(file, root, root, NO_FILTER)
    if reason != "excluded":
        return reason
    return "" if supported(file) else f"no reader for {file.suffix or 'a file without a suffix'}"


def _print(out: Any, explanation: "Explanation") -> None:
    from rich.text import Text

    from rag.display import one_line, print_table, printable

    if explanation.passage is not None:
        out.print(Text(printable(explanation.heading), style="bold"), soft_wrap=True)
        out.print(Text(f"   “{one_line(explanation.passage.text, 200)}”\n"), soft_wrap=True)
    print_table(out, ("", "", ""), explanation.table())
    out.print(Text(f"\n{printable(explanation.advice)}", style="bold"), soft_wrap=True)
