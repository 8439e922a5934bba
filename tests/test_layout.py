"""The drawing of the house, enforced: who may import whom, which file opens which library, how long a file may be."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A file may import the rows above its own, and files of its own row that stand to its left.
ROWS = """
rag.errors rag.location
rag.web.names rag.web.quiet rag.web.sockets rag.web.sse rag.web.limits rag.web.guard rag.web.threads rag.web.serving
rag.display rag.display_markdown rag.display_html rag.display_rows rag.notebook
rag.types rag.formed_answer rag.settings rag.tokens rag.sentences rag.orders rag.quoting rag.stop_words rag.words
rag.evaluation.metrics
rag.evaluation.datasets rag.search.options
rag.search.where rag.search.matching rag.search.paths rag.search.adapter
rag.lmstudio.families rag.lmstudio.http rag.lmstudio.models rag.lmstudio.choice rag.lmstudio.autostart
rag.lmstudio.leases rag.lmstudio.keeper rag.lmstudio.memory rag.lmstudio.residency rag.lmstudio.batches
rag.lmstudio.embeddings rag.lmstudio.token_scale rag.lmstudio.chat rag.lmstudio.schemas rag.lmstudio.formed
rag.lmstudio.agent rag.lmstudio.client
rag.store.names rag.store.objects rag.store.schema rag.search.select rag.store.lance rag.store.tables rag.store.journal
rag.store.vectors
rag.store.kept rag.store.lease rag.store.write rag.store.fragments rag.store.upkeep rag.store.within rag.store.search
rag.store.both rag.store.rank rag.store.versions
rag.store.adapter_file
rag.markers rag.thinking rag.links
rag.citing.wording rag.citing.quantities rag.citing.dates rag.citing.opposites rag.citing.polarity rag.citing.claims
rag.citing.evidence rag.citing.cite rag.citing.beside rag.citing.nearest rag.citing.leaves rag.citing.fields
rag.search.duplicates rag.search.diversity
rag.search.fusion rag.search.retrieve rag.identity rag.search.rerank rag.search.rewrite rag.search.cross_encoder
rag.search.searcher
rag.packing rag.talk rag.confidence rag.confidence_file rag.answer rag.forms rag.agent rag.search.naming
rag.summarizing.windows rag.summarizing.notes rag.summarizing.summary
rag.summarizing.summarize
rag.sessions
rag.contents rag.knowledge_base
rag.conversation
rag.rebuild
rag.display_answer rag.display_live rag.evaluation.wording rag.evaluation.gold rag.evaluation.retrieval
rag.evaluation.answers rag.evaluation.fabricate rag.evaluation.planted rag.evaluation.asking rag.evaluation.fitting
rag.evaluation.plots rag.evaluation.page rag.evaluation.report rag.evaluation.likelihood
rag.evaluation.question_filter rag.evaluation.question_maker
rag.search.why rag.evaluation.adapting
rag.checks.check rag.checks.locks rag.checks.machine rag.checks.engine rag.checks.server rag.checks.knowledge
rag.checks.examine
rag.cli.complete rag.cli.flags rag.cli.keyboard rag.cli.common
ingest.formats.page ingest.formats.paragraphs ingest.formats.tables
ingest.members ingest.formats.blocks ingest.formats.charsets ingest.formats.numbers ingest.formats.text
ingest.formats.slices ingest.formats.front_matter ingest.formats.pictures
ingest.formats.layout ingest.formats.grid ingest.formats.package ingest.formats.ole
ingest.formats.charts ingest.formats.formula ingest.formats.docx ingest.formats.elements ingest.formats.webpage
ingest.formats.ocr ingest.formats.pdf ingest.formats.page_image ingest.formats.markdown ingest.formats.mail
ingest.formats.records
ingest.formats.sheets ingest.formats.slides
ingest.formats.rtf ingest.formats.outlook ingest.formats.word97 ingest.formats.powerpoint97
ingest.formats.opendocument ingest.formats.epub ingest.formats.iwork
ingest.formats.rst ingest.formats.org ingest.formats.asciidoc ingest.formats.tex ingest.formats.code
ingest.formats.subtitles ingest.formats.markup ingest.formats.notebook
ingest.detect ingest.formats.archive ingest.formats.mailbox ingest.formats.attachments ingest.formats.record_files
ingest.filters ingest.sources ingest.chunk ingest.parse
ingest.frames ingest.reading ingest.worker ingest.workers
ingest.report ingest.in_notebook ingest.inventory ingest.fetch ingest.vectors ingest.ledger ingest.tables ingest.flow
ingest.servers ingest.describe ingest.parcels ingest.distribute
ingest.pipeline ingest.watch ingest.show ingest.cli
rag.source_view
rag.service.options rag.service.turn rag.service.problems rag.service.guard rag.service.metrics rag.service.streams
rag.service.desk rag.service.forms
rag.service.api_page rag.service.images rag.service.lmstudio_forms rag.service.uploads rag.service.kb_routes
rag.service.conversation_routes
rag.service.document_routes rag.service.openai_routes rag.service.lmstudio_routes
rag.service.app rag.service.workers rag.service.serve
rag.mcp_server.forms rag.mcp_server.tools rag.mcp_server.server rag.mcp_server.http rag.mcp_server.snippet
rag.cli.questions rag.cli.chat_commands rag.cli.chat rag.cli.summarize rag.cli.why rag.cli.documents rag.cli.versions
rag.cli.rebuild rag.cli.models rag.cli.engine rag.cli.config rag.cli.demo
rag.cli.serve rag.cli.doctor rag.cli.mcp rag.cli.eval_runs rag.cli.eval_answers
rag.cli.evaluate rag.cli.eval_make rag.cli.adapt rag.cli.app rag.__main__
"""
PLACE = {name: (row, column) for row, names in enumerate(ROWS.split("\n")) for column, name in enumerate(names.split())}
WEB = "rag.web."  # which the engine shares with the service
ENGINE = "rag.engine."  # a program of its own, reached by HTTP; one command starts and stops it
MAY_USE_ENGINE = {
    "rag.cli.engine": {
        *("rag.engine.exposure", "rag.engine.fault_list", "rag.engine.launch", "rag.engine.places"),
        "rag.engine.token_store",
    },
    "rag.checks.engine": {"rag.engine.catalogue", "rag.engine.header", "rag.engine.places"},  # are its files whole
    "rag.cli.complete": {"rag.engine.catalogue", "rag.engine.library", "rag.engine.places"},  # TAB asks no server
}
DOORS: dict[str, str | tuple[str, ...]] = {
    "openai": "rag.lmstudio",
    "httpx2": ("rag.lmstudio", "ingest.fetch"),  # the model server, and pages that a user names
    "lancedb": "rag.store.lance",
    "pyarrow": "rag.store",
    "lance": "rag.store.fragments",
    "ray": "ingest.distribute",
    "obstore": "rag.store.objects",
    "pydantic": ("rag.lmstudio.schemas", "rag.service", "rag.mcp_server"),
    "pydantic_core": "rag.lmstudio.schemas",
    "jsonschema": ("rag.lmstudio.schemas", "rag.engine.integrations"),
    "referencing": ("rag.lmstudio.schemas", "rag.engine.integrations"),
    "tiktoken": "rag.tokens",
    "Stemmer": "rag.words",
    "regex": "rag.words",
    "watchfiles": "ingest.watch",
    "unstructured": "ingest.formats.elements",
    "openpyxl": "ingest.formats.sheets",
    "xlrd": "ingest.formats.sheets",
    "pptx": "ingest.formats.slides",
    "olefile": "ingest.formats.ole",
    "oxmsg": "ingest.formats.outlook",
    "pypdfium2": ("ingest.formats.pdf", "ingest.formats.page_image"),
    "prometheus_client": "rag.service.metrics",
    "pytesseract": "ingest.formats.ocr",
    "PIL": ("ingest.formats.ocr", "ingest.formats.pictures"),
    "markdown_it": "ingest.formats.markdown",
    "orjson": ("rag.lmstudio", "ingest.frames"),
    "chardet": "ingest.formats.text",
    "pylatexenc": "ingest.formats.tex",
    "onnxruntime": "rag.search.cross_encoder",
    "tokenizers": "rag.search.cross_encoder",
    "xllamacpp": "rag.engine.worker",
    "huggingface_hub": "rag.engine.hub",
    "mcp": ("rag.engine.integrations", "rag.mcp_server.server"),  # a client of MCP servers, and one
    "IPython": "rag.notebook",
}
ENGINE_MAY_OPEN = {"httpx2"}  # it talks to its workers over HTTP


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    _module(path): path
    for folder in ("rag", "ingest")
    for path in (ROOT / folder).rglob("*.py")
    if "sample" not in path.parts
}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}
HOUSE = sorted(name for name in FILES if name not in PACKAGES and not name.startswith(ENGINE))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth, so that no import can hide in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in FILES else module


def test_every_file_is_drawn() -> None:
    """A new file needs a place in the drawing, and the drawing shows no file that is gone."""
    assert set(PLACE) == set(HOUSE)


@pytest.mark.parametrize("name", HOUSE)
def test_imports_point_down(name: str) -> None:
    """Imports follow the drawing, are written in full, and name a file, never the package's own front window."""
    for target in imports(FILES[name]):
        assert not target.startswith("."), f"{name}: write the file's full name, not {target!r}"
        assert target not in PACKAGES, f"{name}: import from the file, not from {target!r}"
        if target.startswith(ENGINE):
            assert target in MAY_USE_ENGINE.get(name, ()), f"{name} may not import {target}"
        elif target in FILES:
            assert PLACE[target] < PLACE[name], f"{name} may not import {target}"


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.startswith(ENGINE)))
def test_the_engine_stands_alone(name: str) -> None:
    """The engine knows of this project only its own files, the errors, and what it shares of HTTP."""
    for target in imports(FILES[name]):
        if target in FILES:
            assert target == "rag.errors" or target.startswith((ENGINE, WEB)), f"{name} may not import {target}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_library_has_one_door(name: str) -> None:
    """A foreign library is imported in one place, where its errors are translated."""
    for target in imports(FILES[name]):
        library = target.split(".")[0]
        doors = DOORS.get(library)
        if doors is None or (library in ENGINE_MAY_OPEN and name.startswith(ENGINE)):
            continue
        allowed = (doors,) if isinstance(doors, str) else doors
        assert any(name == door or name.startswith(f"{door}.") for door in allowed), (
            f"{library} may only be imported in {doors}, not in {name}"
        )


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_stay_small(name: str) -> None:
    """A file that needs more than 500 lines holds two ideas."""
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize(
    ("package", "names"),
    [
        (
            "rag",
            [
                "Answer",
                "Citation",
                "CitationStatus",
                "Conversation",
                "FormedAnswer",
                "Hit",
                "KnowledgeBase",
                "LMStudio",
                "RagError",
                "Settings",
                "evaluate",
                "live",
                "load_settings",
                "view",
                "why",
            ],
        ),
        ("ingest", ["IngestReport", "Outcome", "ingest"]),
    ],
)
def test_public_names_are_pinned(package: str, names: list[str]) -> None:
    """What a user may import changes only on purpose, and every name can be had."""
    module = importlib.import_module(package)
    assert module.__all__ == names
    assert all(getattr(module, name) is not None for name in names)
