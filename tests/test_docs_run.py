"""The documentation's commands and Python are run, as a reader would, in a folder with the files that they name.

What is compared is what every machine prints. Two pages are about models and have the real ones; the others have an LM
Studio that says what a small model said once.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doc_blocks import PAGES, Block, blocks, matches, shown_commands, stages
from in_process import MAINS, run
from lmstudio_server import FakeLMStudio, lm_studio
from service_fixture import running_service

from ingest import ingest
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.client import LMStudio
from rag.settings import Settings

DATA = Path(__file__).parents[1] / "data"
SERVED = "127.0.0.1:8009"
WITH_MODELS = {"models.md", "lmstudio.md"}
FORM = {"type": "object", "properties": {"euros_per_metre": {"type": ["number", "null"]}}}
SAID = {
    "citations.md": (
        '{"supplier": "Ketterby", "euros_per_metre": 0.62}',
        "The warranty on a Brisa 4 lasts for 5 years.",
        "How long is the warranty on the Relay Hub?",
        "The warranty on the Relay Hub lasts for 2 years.",
    ),
    "scripts.md": ("The battery pack has a warranty of 2 years.", "I don't know."),
}


@pytest.fixture(scope="module")
def lm() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        running.says = "The battery pack has a warranty of 2 years."
        yield running


@pytest.fixture(scope="module")
def prepared(lm: FakeLMStudio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: documents, and a knowledge base of the sample."""
    folder, sample = tmp_path_factory.mktemp("prepared"), DATA / "sample"
    with KnowledgeBase(folder / "notes.kb", settings=lm.settings) as base:
        assert ingest(sample, into=base).failed == 0
    (folder / "docs").mkdir()
    for name in ("policies/warranty-terms.docx", "policies/returns-policy-2025.html", "engineering/radio-notes.md"):
        shutil.copy(sample / name, folder / "docs")
    shutil.copytree(sample / "policies", folder / "home" / "Documents" / "manuals")
    shutil.copy(sample / "engineering" / "radio-notes.md", folder / "notes.md")
    shutil.copy(sample / "support" / "tickets-2025.jsonl", folder / "tickets.jsonl")
    shutil.copy(sample / "manuals" / "brisa-4-manual.pdf", folder / "manual.pdf")
    shutil.copy(DATA / "questions.jsonl", folder)
    (folder / "prices.json").write_text(json.dumps(FORM))
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that for one page, and an environment without surprises."""
    here = tmp_path / "here"
    shutil.copytree(prepared, here)
    for name, value in {
        "HOME": str(here / "home"),
        "RAG_STATE_DIR": str(tmp_path / "state"),
        "RAG_KB": "notes.kb",
        "RAG_ENGINE": "0",
        "RAG_TTL_S": "-1",
        "NO_COLOR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here)
    return here


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands speak to this server."""
    monkeypatch.setenv("LMSTUDIO_HOST", settings.host)
    monkeypatch.setenv("RAG_EMBEDDING_MODEL", settings.embedding_model or "")
    monkeypatch.setenv("RAG_CHAT_MODEL", settings.chat_model or "")


def try_commands(block: Block, served: str) -> None:
    """Run a block's commands; what they print must be what is shown."""
    for shown in shown_commands(block):
        given, whole = shown.typed.encode(), True
        for words in stages(shown.line.replace(SERVED, served)):
            name, *arguments = (str(Path(word).expanduser()) if word.startswith("~") else word for word in words)
            if name in MAINS:
                done = run(name, *arguments, stdin=given)
                assert done.code == 0, f"{block}: {shown.line}: exit code {done.code}: {done.err}"
                given = done.out.encode()
            elif shutil.which(name):
                other = subprocess.run([name, *arguments], input=given, capture_output=True, check=False)
                assert other.returncode == 0, f"{block}: {shown.line}: {other.stderr.decode()}"
                given = other.stdout
            else:
                assert name in ("jq", "curl"), f"{block}: there is no {name}"
                whole = False  # without jq the JSON before it must at least be JSON
                for line in given.decode().splitlines():
                    json.loads(line)
                break
        if shown.printed is not None and whole:
            printed = given.decode()
            assert matches(printed, shown.printed), f"{block}: {shown.line} prints:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_what_a_page_shows_works(
    page: Path,
    folder: Path,
    lm: FakeLMStudio,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    settings: Settings = request.getfixturevalue("settings") if page.name in WITH_MODELS else lm.settings
    use(settings, monkeypatch)
    if page.name in WITH_MODELS:  # the page begins with none loaded, whatever other tests have left
        with LMStudio(settings=settings) as server:
            server.unload()
    for said in SAID.get(page.name, ()):
        lm.say(said)
    shown = [block for block in blocks(page) if not block.not_run]
    names: dict[str, object] = {"__name__": "__page__"}
    with ExitStack() as stack:
        served = ""
        if any(SERVED in block.text for block in shown):
            (folder / "service").mkdir()
            served = stack.enter_context(running_service(folder / "service")).url.removeprefix("http://")
        for block in shown:
            if block.language == "console":
                try_commands(block, served)
            elif block.language == "python":
                exec(compile(block.text, str(block), "exec"), names)
        for value in names.values():
            if isinstance(value, KnowledgeBase):
                value.close()
    assert not lm.instead["/v1/chat/completions"], "what was to be said was not asked for"
