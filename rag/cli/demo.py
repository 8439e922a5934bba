"""`rag demo`: the whole way, from the sample documents to checked answers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.flags as flags
from rag.cli.common import console, notify, print_json, server, settings
from rag.errors import SourceNotFound

if TYPE_CHECKING:
    from rag.knowledge_base import KnowledgeBase
    from rag.lmstudio.client import LMStudio
    from rag.types import Answer

MODELS = {"embedding": "text-embedding-all-minilm-l6-v2", "llm": "qwen2.5-coder-0.5b-instruct"}
QUESTIONS = (
    "How long is the warranty on the battery?",
    "How many days do customers have to return a product?",
    "Who is the mayor of Lisbon?",
)


def demo(
    kb: Annotated[
        Path | None, typer.Option("--kb", help="Default: a folder in the user's cache.", show_default=False)
    ] = None,
    json: flags.Json = False,
) -> None:
    """Ingest the sample documents and ask three questions, one of which they do not answer.

    Example: rag demo
    """
    from ingest.cli import with_progress
    from rag.knowledge_base import KnowledgeBase

    folder = sample_folder()
    with server() as lm:
        chosen = {type_: _model(lm, type_) for type_ in MODELS}
    configured = settings(kb=kb or _demo_kb(), embedding_model=chosen["embedding"], chat_model=chosen["llm"])
    with KnowledgeBase(settings=configured, notify=notify) as base:
        notify(f"Ingesting {folder}")
        report = with_progress(base, [folder], quiet=json)
        answers = [_asked(base, question, json) for question in QUESTIONS]
        exact = sum(base.text(c.source)[c.start : c.end] == c.quote for answer in answers for c in answer.citations)
    citations = sum(len(answer.citations) for answer in answers)
    if json:
        print_json({"answers": [answer.to_dict() for answer in answers], "citations": citations, "exact": exact})
    else:
        print(f"\n{exact} of {citations} quotes equal the document's text at their offsets.")
    if report.failed or exact != citations:
        sys.exit(1)


def _asked(base: "KnowledgeBase", question: str, json: bool) -> "Answer":
    from rag.display_live import print_streamed

    if json:
        return base.ask(question)
    out = console()
    out.print(f"\n> {question}", style="bold")
    return print_streamed(base.ask_stream(question), base.file_of)


def sample_folder() -> Path:
    """The sample documents: inside the installed package, or beside it in a checkout."""
    import rag.cli.common as here

    package = Path(here.__file__).parents[1]
    for folder in (package / "sample", package.parent / "data" / "sample"):
        if folder.is_dir():
            return folder
    raise SourceNotFound("The sample documents are not installed. Run the demo from a checkout of lmstudio-rag.")


def _demo_kb() -> Path:
    import platformdirs

    from rag.settings import APP

    return Path(platformdirs.user_cache_dir(APP, appauthor=False)) / "demo.kb"


def _model(lm: "LMStudio", type_: str) -> str:
    """The demo's model, downloaded now if need be; another of the type where the server has no such download."""
    from rag.cli.models import fetch
    from rag.errors import RagError

    key = MODELS[type_]
    there = [model for model in lm.models() if model.type == type_]
    if any(model.key == key for model in there):
        return key
    try:
        notify(f"Getting {key}; this happens once.")
        fetch(lm, key)
    except RagError:
        if not there:
            raise
        notify(f"The server cannot get {key}; using {there[0].key}.")
        return there[0].key
    return key
