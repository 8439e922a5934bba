"""The notebooks run from the first cell to the last, and what changes below a cell while it runs does."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from lmstudio_server import chunk_of, lm_studio
from nbclient import NotebookClient

from rag.knowledge_base import KnowledgeBase

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: path for path in (ROOT / "notebooks").glob("*.ipynb")}
SETUP = """
from ingest import ingest
from rag import KnowledgeBase, Settings, live

def opened(path, host, embedding_model, chat_model):
    settings = Settings(host=host, engine=False, embedding_model=embedding_model, chat_model=chat_model)
    return KnowledgeBase(path, settings=settings)
"""
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def execute(tmp_path: Path, sample_kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Run a notebook where the sample documents have been read already; returns what its cells show, without markup."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "data").symlink_to(ROOT / "data", target_is_directory=True)
    shutil.copytree(sample_kb.path, folder / "sample.kb")
    monkeypatch.setenv("LMSTUDIO_HOST", sample_kb.settings.host)

    def executed(name: str) -> list[str]:
        notebook = nbformat.read(NOTEBOOKS[name], as_version=4)  # type: ignore[no-untyped-call]
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
        cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
        return ["\n".join(str(out.get("text") or out["data"]["text/plain"]) for out in outputs) for outputs in cells]

    return executed


def test_quickstart(execute: Callable[[str], list[str]]) -> None:
    _, report, again, hits, answer, citations, nothing, _ = execute("quickstart")
    assert report.endswith("5 added, 0 updated, 0 unchanged, 0 renamed, 0 removed, 0 failed")
    assert again.split("\n")[-1] == "0"
    assert hits.startswith("1. policies/returns-policy-2025.html")
    assert "policies/warranty-terms.docx (verified)" in answer
    assert "exact" in citations
    assert "NOT EXACT" not in citations
    assert nothing.startswith("The documents do not answer this.")


def test_your_own_documents(execute: Callable[[str], list[str]]) -> None:
    _, report, base, answer, place, filtered, policies, why, talk, form, _ = execute("your_own_documents")
    assert report.startswith("0 added, 0 updated, 15 unchanged")
    assert "sample.kb" in base
    assert "brisa-4-manual.pdf p. 6 (verified)" in answer
    assert "▶" in place
    assert "manual.pdf" not in filtered
    assert policies.count("sample/policies/") == 5
    assert "LOST" in why
    assert "2 years. [1]" in talk
    assert "How long is the warranty on the Brisa 4 weather station? And on its battery?" in talk
    assert "years: 5 [1]" in form


def test_models_and_ttl(execute: Callable[[str], list[str]]) -> None:
    _, models, _, leases, used, gone, unloaded, _ = execute("models_and_ttl")
    assert "text-embedding-all-minilm-l6-v2" in models
    assert "lmstudio-rag, process" in leases
    before, after = (float(word) for word in used.split() if word[0].isdigit())
    assert before < after <= 3
    assert gone.strip().endswith("unloaded")
    assert "minilm" in unloaded


def test_evaluate_and_tune(execute: Callable[[str], list[str]]) -> None:
    _, ablation, tried, likelihoods, _ = execute("evaluate_and_tune")
    assert ablation.startswith("32 questions about sample.kb")
    assert ablation.split("\n")[1].split() == ["measure", "default", "vector", "words", "diverse"]
    assert tried.startswith("32 questions")
    assert "answerable" in likelihoods
    assert "AUROC 0." in likelihoods


def test_notebooks_are_stored_without_outputs() -> None:
    """Outputs in a repository are stale, and may show what nobody meant to publish."""
    for path in NOTEBOOKS.values():
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


class Kernel:
    """A kernel, and the messages of each cell."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel()

    def run(self, code: str, watch: Callable[[Any], None] = lambda message: None) -> list[tuple[str, Any]]:
        """The outputs of a cell as they came, each as its kind and content."""
        found: list[tuple[str, Any]] = []

        def hook(message: Any) -> None:
            if message["msg_type"] in ("display_data", "update_display_data", "execute_result", "stream", "error"):
                found.append((message["msg_type"], message["content"]))
                watch(message)

        self.client.execute_interactive(code, output_hook=hook, timeout=60)
        return found


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def test_what_changes_below_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.md").write_text(f"# Clamp {number}\n\nThe mast clamp bolts need {number} Nm.\n")
    with lm_studio() as lm:
        server = (lm.settings.host, lm.settings.embedding_model, lm.settings.chat_model)
        assert not kernel.run(f"{SETUP}\nkb = opened({str(tmp_path / 'notes.kb')!r}, *{server!r})")
        _is_one_line_that_changes(kernel.run(f"report = ingest({str(tmp_path)!r}, into=kb)"))
        _comes_word_by_word(kernel, lm)
        _is_usable_after_an_interrupt(kernel, lm)


def _is_one_line_that_changes(outputs: list[tuple[str, Any]]) -> None:
    assert [kind for kind, _ in outputs] == ["display_data", *["update_display_data"] * (len(outputs) - 1)]
    assert len({content["transient"]["display_id"] for _, content in outputs}) == 1
    assert outputs[-1][1]["data"]["text/plain"].startswith("30/30 files, 30 chunks")
    assert "<progress" not in outputs[-1][1]["data"]["text/html"]


def _comes_word_by_word(kernel: Kernel, lm: Any) -> None:
    lm.stream(
        *(
            part
            for word in ("The mast clamp ", "bolts need ", "7 Nm.")
            for part in (chunk_of("qwen/qwen3-4b", word), 0.15)
        ),
        chunk_of("qwen/qwen3-4b", "", "stop"),
        "data: [DONE]\n\n",
    )
    outputs = kernel.run("answer = live(kb.ask_stream('What do the bolts of clamp 7 need?'))")
    shown = [content["data"]["text/plain"] for _, content in outputs]
    assert [kind for kind, _ in outputs] == ["display_data", *["update_display_data"] * (len(outputs) - 1)]
    assert shown[0] == "…"
    assert "The mast clamp " in shown
    assert "The mast clamp bolts need " in shown
    assert shown[-1].startswith("The mast clamp bolts need 7 Nm. [1]\n\n[1] ")
    assert "<mark" in outputs[-1][1]["data"]["text/html"]
    assert all("<mark" not in content["data"]["text/html"] for _, content in outputs[:-1])


def _is_usable_after_an_interrupt(kernel: Kernel, lm: Any) -> None:
    lm.stream(
        chunk_of("qwen/qwen3-4b", "The mast clamp bolts need 7 Nm. And"), *[chunk_of("qwen/qwen3-4b", " on"), 0.2] * 100
    )

    def interrupt(message: Any) -> None:
        if " on" in message["content"].get("data", {}).get("text/plain", "") and not interrupted:
            interrupted.append(True)
            kernel.manager.interrupt_kernel()

    interrupted: list[bool] = []
    outputs = kernel.run("live(kb.ask_stream('What do the bolts of clamp 7 need?'))", interrupt)
    (_, answer), (kind, error) = outputs[-2:]
    assert "Interrupted: this is what had been said." in answer["data"]["text/plain"]
    assert "Clamp 7" in answer["data"]["text/html"]
    assert (kind, error["ename"]) == ("error", "KeyboardInterrupt")
    lm.say("The mast clamp bolts need 8 Nm.")
    ((_, again),) = kernel.run("print(kb.ask('What do the bolts of clamp 8 need?'))")
    assert again["text"].startswith("The mast clamp bolts need 8 Nm. [1]")
