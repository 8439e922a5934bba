"""The arguments and options that several commands share, each declared once, with what TAB offers for it."""

from typing import Annotated

import typer

import rag.cli.complete as complete

Kb = Annotated[
    str | None,
    typer.Option(
        "--kb",
        metavar="PLACE",
        help="The knowledge base: a folder, or s3://, gs:// or az://BUCKET/PATH. Default: $RAG_KB, else ./.rag.",
        show_default=False,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="An older version: a number or a tag of `rag versions`.",
        show_default=False,
        autocompletion=complete.versions,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Only documents that fulfil this, such as 'format = pdf and indexed > 2026-01-01' or "
        "'headings contains \"Safety\"'; may be given several times.",
        show_default=False,
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        help="Only documents on this path, such as 'reports/**/*.pdf'; '!drafts/*' leaves some out; "
        "may be given several times.",
        show_default=False,
        autocompletion=complete.sources,
    ),
]
Question = Annotated[str, typer.Argument(help="The question, in quotes; `-` reads it from standard input.")]
Limit = Annotated[
    int | None, typer.Option("-n", "--limit", min=1, help="How many passages (default: 6).", show_default=False)
]
Mode = Annotated[
    str,
    typer.Option(
        help="hybrid, vector, or words (which needs no model server).",
        autocompletion=complete.one_of("hybrid", "vector", "words"),
    ),
]
Diversity = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="How much passages should differ from one another: 0 to 1.", show_default=False),
]
Rerank = Annotated[
    str | None,
    typer.Option(
        help="Judge the best passages once more: by llm, the chat model, or cross, the model of $RAG_RERANKER, or off.",
        show_default=False,
        autocompletion=complete.one_of("llm", "cross", "off"),
    ),
]
Expand = Annotated[
    str | None,
    typer.Option(
        help="Have the chat model ask in other words (variants), or for the parts of the question (parts), besides.",
        show_default=False,
        autocompletion=complete.one_of("variants", "parts", "off"),
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Leave out what no passage supports.")]
ChatModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The chat model. Default: $RAG_CHAT_MODEL, else one that is loaded.",
        autocompletion=complete.models,
    ),
]
Ttl = Annotated[
    int | None,
    typer.Option(
        "--ttl",
        min=-1,
        help="Unload models that this loads after so many idle seconds; 0: at the end, -1: never (default: 3600).",
        show_default=False,
    ),
]
Download = Annotated[
    bool | None,
    typer.Option("--download", help="Have the server download a model that is missing.", show_default=False),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown: the answer and its sources.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
