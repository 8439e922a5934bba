"""`rag ask` and `rag search`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import busy, console, knowledge_base, print_json
from rag.search.options import SearchKeywords
from rag.search.where import all_of
from rag.types import Cut

if TYPE_CHECKING:
    from rag.display_answer import FileOf
    from rag.formed_answer import FormedAnswer

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


def ask(
    question: flags.Question,
    kb: flags.Kb = None,
    at: flags.At = None,
    limit: flags.Limit = None,
    where: flags.Where = None,
    path: flags.Paths = None,
    diversity: flags.Diversity = None,
    rerank: flags.Rerank = None,
    expand: flags.Expand = None,
    strict: flags.Strict = False,
    agent: AgentOption = False,
    schema: SchemaOption = None,
    model: flags.ChatModel = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    markdown: flags.Markdown = False,
    json: flags.Json = False,
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
            with busy("Filling in the form"):
                filled = base.ask(_read(question), schema=form, strict=strict, agent=agent, **how)
            _print_formed(filled, base.file_of, json, markdown)
            return
        events = base.ask_stream(_read(question), strict=strict, agent=agent, **how)
        if not (json or markdown):
            answer = print_streamed(events, base.file_of)
        else:
            with busy("Asking"):
                answer = answered(events)
            if json:
                print_json(answer.to_dict())
            else:
                sys.stdout.write(answer.to_markdown())
    if answer.cut is Cut.INTERRUPTED:
        raise typer.Exit(130)


def search(
    question: flags.Question,
    kb: flags.Kb = None,
    at: flags.At = None,
    limit: flags.Limit = None,
    where: flags.Where = None,
    path: flags.Paths = None,
    mode: flags.Mode = "hybrid",
    diversity: flags.Diversity = None,
    rerank: flags.Rerank = None,
    expand: flags.Expand = None,
    model: flags.ChatModel = None,
    json: flags.Json = False,
) -> None:
    """Show the passages that best fit a question.

    Example: rag search "torque of the mast clamp" -n 3 --path 'manuals/**'
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
        asked = _read(question)
        with busy("Searching"):
            hits = base.search(asked, **how)
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
