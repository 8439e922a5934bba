"""A new user with a stopwatch: from a clone to a marked quote in the page, and to an answer in a notebook.

    python -m bench.new_user [--document FILE] [--question TEXT] [--shots FOLDER]

In an empty home: nothing is cached, so packages and both models are fetched. Seconds by step. Needs Chromium.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from bench.record import record

ROOT = Path(__file__).parents[1]
MODELS = ("text-embedding-all-minilm-l6-v2", "qwen2.5-coder-0.5b-instruct")
CELLS = (
    "from ingest import ingest\nfrom rag import KnowledgeBase\nkb = KnowledgeBase('notes.kb')",
    "ingest({document!r}, into=kb)",
    "answer = kb.ask({question!r})\nanswer",
    "print(answer)\nassert answer.citations, answer\nkb.close()",
)
_EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300).execute()
print(notebook.cells[-1].outputs[0].text)
"""
_PATIENCE_MS = 300_000
_PRIVATE = re.compile(r"(RAG_|LMSTUDIO_|UV_|PYTHON|VIRTUAL_ENV|XDG_)")


class Trial:
    """A home, a clone and a virtual environment of somebody who has none of it yet; steps are timed one by one."""

    def __init__(self, folder: Path) -> None:
        self.seconds: dict[str, float] = {}
        self.home, self.clone, self.venv = folder / "home", folder / "lmstudio-rag", folder / "venv"
        self.home.mkdir()
        known = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)}
        path = os.pathsep.join([str(self.bin), *os.get_exec_path()])
        self.environment = {**known, "HOME": str(self.home), "PATH": path, "RAG_ENGINE_IDLE_S": "120"}

    @property
    def bin(self) -> Path:
        """Where the environment's commands are."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin")

    def step(self, name: str, command: Sequence[str | Path], where: Path | None = None) -> str:
        """Run a command of the user's, which must succeed, and note its seconds."""
        began = time.perf_counter()
        done = subprocess.run(command, cwd=where or self.clone, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}: {done.stdout}\n{done.stderr}")
        self.seconds[name] = round(time.perf_counter() - began, 1)
        return done.stdout

    def installed(self, what: str) -> None:
        """A clone, an environment, and this project in it."""
        self.step("git clone", ["git", "clone", "--quiet", ROOT, self.clone], self.home)
        self.step("virtual environment", [sys.executable, "-m", "venv", self.venv])
        self.step(f"pip install '{what}'", [self.bin / "python", "-m", "pip", "install", "--quiet", what])

    def models(self) -> None:
        """The two small models of the demo."""
        for key in MODELS:
            self.step(f"rag models get {key}", [self.bin / "rag", "models", "get", key])

    def page(self, document: Path, question: str, shots: Path | None) -> None:
        """Serve an empty knowledge base, drop a document into the page, ask, and look at the first source."""
        began = time.perf_counter()
        command: list[str | Path] = [self.bin / "rag", "serve", "--kb", "own.kb", "--port", "8010"]
        with subprocess.Popen(
            command, cwd=self.home, env=self.environment, stderr=subprocess.PIPE, text=True
        ) as serving:
            try:
                assert serving.stderr is not None
                told = iter(serving.stderr.readline, "")
                url = next(found[0] for line in told if (found := re.search(r"http://[\d.]+:\d+", line)))
                with sync_playwright() as playwright:
                    root = hasattr(os, "geteuid") and os.geteuid() == 0
                    browser = playwright.chromium.launch(
                        executable_path=shutil.which("chromium"), args=["--no-sandbox"] if root else []
                    )
                    page = browser.new_page(viewport={"width": 1200, "height": 800})
                    page.set_default_timeout(_PATIENCE_MS)
                    expect.set_options(timeout=_PATIENCE_MS)
                    page.goto(url)
                    self.seconds["rag serve, and the page"] = round(time.perf_counter() - began, 1)
                    self._in_page(page, document, question, shots)
            finally:
                serving.terminate()

    def _in_page(self, page: Page, document: Path, question: str, shots: Path | None) -> None:
        began = time.perf_counter()
        page.get_by_role("link", name="Documents").click()
        page.locator("#files").set_input_files(document)
        expect(page.locator("#uploads li")).to_contain_text("added")
        self.seconds["the document dropped and read"] = round(time.perf_counter() - began, 1)
        began = time.perf_counter()
        page.get_by_role("link", name="Ask").click()
        page.get_by_label("Question", exact=True).fill(question)
        page.keyboard.press("Enter")
        cited = page.get_by_role("button", name=re.compile("^Source 1"))
        expect(cited.first).to_be_visible()
        self.seconds["the question answered"] = round(time.perf_counter() - began, 1)
        if shots:
            page.screenshot(path=shots / "answer.png")
        began = time.perf_counter()
        cited.first.click()
        expect(page.locator("#quote")).not_to_be_empty()
        self.seconds["the marked quote"] = round(time.perf_counter() - began, 1)
        if shots:
            expect(page.locator("#source-image")).to_be_visible()
            page.screenshot(path=shots / "source.png")

    def notebook(self, document: Path, question: str) -> str:
        """Execute a notebook of four cells; what its last one prints."""
        cells: list[dict[str, object]] = [
            {
                "cell_type": "code",
                "id": f"cell{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": cell.format(document=str(document), question=question),
            }
            for number, cell in enumerate(CELLS)
        ]
        written = self.home / "mine.ipynb"
        written.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return self.step("the notebook", [self.bin / "python", "-c", _EXECUTE, written], self.home)


def main() -> None:
    """Both ways, each from nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=ROOT / "data" / "sample" / "manuals" / "brisa-4-manual.pdf")
    parser.add_argument("--question", default="How far must we keep away from power lines when we put up the mast?")
    parser.add_argument("--shots", type=Path, help="keep pictures of the page there")
    arguments = parser.parse_args()
    document = arguments.document.resolve()
    figures: dict[str, object] = {}
    for name in ("page", "notebook"):
        with tempfile.TemporaryDirectory(prefix="new-user-") as folder:
            trial = Trial(Path(folder))
            try:
                if name == "page":
                    trial.installed(".[engine,service]")
                    trial.models()
                    trial.page(document, arguments.question, arguments.shots)
                else:
                    trial.installed(".[engine]")
                    packages = ["nbclient", "ipykernel"]
                    trial.step(
                        "pip install a notebook", [trial.bin / "python", "-m", "pip", "install", "-q", *packages]
                    )
                    trial.models()
                    print(trial.notebook(document, arguments.question))
            finally:  # it would outlive its own environment
                trial.step("rag engine stop", [trial.bin / "rag", "engine", "stop"])
            figures[name] = {**trial.seconds, "all (s)": round(sum(trial.seconds.values()), 1)}
    record("new_user", figures)


if __name__ == "__main__":
    main()
