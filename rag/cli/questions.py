"""`rag ask` and `rag search`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.errors as errors
from rag.cli.common import (
    AtOption,
    DownloadOption,
    JsonOption,
    KbOption,
    PathOption,
    TtlOption,
    WhereOption,
    console,
    knowledge_base,
    print_json,
)
from rag.search.options import SearchKeywords
from rag.search.where import all_of
from rag.types import Cut

if TYPE_CHECKING:
    from rag.display_answer import FileOf
    from rag.formed_answer import FormedAnswer

QuestionArgument = Annotated[str, typer.Argument(help="The question, in quotes; `-` reads it from standard input.")]
LimitOption = Annotated[
    int | None, typer.Option("-n", "--limit", min=1, help="How many passages (default: 6).", show_default=False)
]
ModeOption = Annotated[str, typer.Option(help="hybrid, vector, or words (which needs no model server).")]
DiversityOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="How much passages should differ from one another: 0 to 1.", show_default=False),
]
RerankOption = Annotated[
    str | None,
    typer.Option(
        help="Judge the best passages once more: by llm, the chat model, or cross, the model of $RAG_RERANKER, or off.",
        show_default=False,
    ),
]
ExpandOption = Annotated[
    str | None,
    typer.Option(
        help="Have the chat model ask in other words (variants), or for the parts of the question (parts), besides.",
        show_default=False,
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Leave out what no passage supports.")]
AgentOption = Annotated[
    bool, typer.Option("--agent", help="Have the model search several times, for a question with several hops.")
]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        exists=True,
        dir_okay=False,
        help="Fill in a form: a file with the JSON Schema of the answer.",
        show_default=False,
    ),
]
ChatModelOption = Annotated[
    str | None, typer.Option("--model", help="The chat model. Default: $RAG_CHAT_MODEL, else one that is loaded.")
]


def ask(
    question: QuestionArgument,
    kb: KbOption = None,
    at: AtOption = None,
    limit: LimitOption = None,
    where: WhereOption = None,
    path: PathOption = None,
    diversity: DiversityOption = None,
    rerank: RerankOption = None,
    expand: ExpandOption = None,
    strict: StrictOption = False,
    agent: AgentOption = False,
    schema: SchemaOption = None,
    model: ChatModelOption = None,
    ttl: TtlOption = None,
    download: DownloadOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown: the answer and its sources.")] = False,
    json: JsonOption = False,
) -> None:
    """Answer a question from the documents, with checked citations. Ctrl-C ends it with what was said so far.

    Example: rag ask "How long is the warranty?" --kb notes.kb
    Example: rag ask "What do the cables cost?" --schema prices.json --json
    """
    if json and markdown:
        raise typer.BadParameter("choose one of --json and --markdown.", param_hint="--markdown")
    from rag.display_live import answered, print_streamed

    how = SearchKeywords(
        limit=limit, where=all_of(where or ()), paths=path or (), diversity=diversity, rerank=rerank, expand=expand
    )
    form = _schema(schema) if schema else None
    with knowledge_base(kb, at, chat_model=model, ttl_s=ttl, download=download) as base:
        if form is not None:
            with console(stderr=True).status("Filling in the form …"):  # on a terminal alone
                filled = base.ask(_read(question), schema=form, strict=strict, agent=agent, **how)
            _print_formed(filled, base.file_of, json, markdown)
            return
        if json:
            answer = answered(base.ask_stream(_read(question), strict=strict, agent=agent, **how))
            print_json(answer.to_dict())
        elif markdown:
            answer = answered(base.ask_stream(_read(question), strict=strict, agent=agent, **how))
            sys.stdout.write(answer.to_markdown())
        else:
            answer = print_streamed(base.ask_stream(_read(question), strict=strict, agent=agent, **how), base.file_of)
    if answer.cut is Cut.INTERRUPTED:
        raise typer.Exit(130)


def search(
    question: QuestionArgument,
    kb: KbOption = None,
    at: AtOption = None,
    limit: LimitOption = None,
    where: WhereOption = None,
    path: PathOption = None,
    mode: ModeOption = "hybrid",
    diversity: DiversityOption = None,
    rerank: RerankOption = None,
    expand: ExpandOption = None,
    model: ChatModelOption = None,
    json: JsonOption = False,
) -> None:
    """Show the passages that best fit a question.

    Example: rag search "torque of the mast clamp" -n 3 --path 'manuals/**/*.pdf'
    """
    if mode not in ("hybrid", "vector", "words"):
        raise typer.BadParameter(f"{mode!r} is none of hybrid, vector, words.", param_hint="--mode")
    how = SearchKeywords(
        limit=limit,
        where=all_of(where or ()),
        paths=path or (),
        mode=mode,
        diversity=diversity,
        rerank=rerank,
        expand=expand,
    )
    with knowledge_base(kb, at, chat_model=model) as base:
        hits = base.search(_read(question), **how)
        if json:
            print_json({"hits": [hit.to_dict() for hit in hits]})
            return
        from rag.display_answer import print_hits

        if not hits:
            print("Nothing found.")
        print_hits(console(), hits, base.file_of)


def _print_formed(answer: "FormedAnswer[Any]", file_of: "FileOf", json: bool, markdown: bool) -> None:
    from rag.display_answer import print_formed

    if json:
        print_json(answer.to_dict())
    elif markdown:
        sys.stdout.write(answer.to_markdown())
    else:
        print_formed(console(), answer, file_of)


def _schema(path: Path) -> dict[str, Any]:
    import json

    from rag.lmstudio.schemas import schema_of

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise errors.UsageProblem(f"{path} is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise errors.UsageProblem(f'{path} is no JSON Schema: it must be an object, such as {{"type": "object", …}}.')
    return schema_of(found)


def _read(question: str) -> str:
    return sys.stdin.read().strip() if question == "-" else question
