"""Questions through each system, every answer kept at once: what a run did not come to, the next one does."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

import rag.errors as errors
from ingest.members import ReadOptions
from ingest.pipeline import ingest
from rag.evaluation.answers import Case
from rag.evaluation.asking import KeptChat, ask
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.client import LMStudio
from rag.settings import APP, Settings

OURS = "ours"
PEERS = Path(__file__).parent / "peers"
SCRIPTS = {"llamaindex": PEERS / "llamaindex_citations.py", "langchain": PEERS / "langchain_rag.py"}
SYSTEMS = (OURS, *SCRIPTS)
CHAT_CONTEXT = 8192  # of the one instance that all systems use; none of their prompts comes near it

Row = dict[str, Any]
Ask = Callable[[Case], Row]


def run(system: str, cases: Sequence[Case], corpus: Path, folder: Path, settings: Settings, venv: Path | None) -> None:
    """Ask a system what it was not asked yet; the answers go to `folder/SYSTEM.jsonl`.

    `venv` is an environment with the peers in it; without one it is made in the user's cache.
    """
    path = folder / f"{system}.jsonl"
    if not _left(path, cases):
        return
    with LMStudio(settings=settings, notify=_tell) as server:
        # Loaded by the requests themselves, the two would evict each other at every question.
        embedder = server.load(settings.embedding_model, model_type="embedding").instance_id
        chat = server.load(settings.chat_model, context_length=CHAT_CONTEXT).instance_id
        if system == OURS:
            opened = _ours(corpus, folder / "ours.kb", settings)
        else:
            python, url = str(_peers_python(venv)), f"{server.connection.base}/v1"
            opened = peer([python, str(SCRIPTS[system]), str(corpus), url, embedder, chat])
        with opened as asking:
            ask_all(path, cases, asking)


def ask_all(path: Path, cases: Sequence[Case], ask: Ask) -> None:
    """Ask what `path` has no answer to, and append each answer as it comes."""
    left = _left(path, cases)
    if path.is_file():
        os.truncate(path, len(_whole(path)))
    with path.open("a", encoding="utf-8") as file:
        for number, case in enumerate(left, 1):
            began = time.perf_counter()
            answer = ask(case)
            row = {"id": case.id, "kind": case.kind.value, "seconds": time.perf_counter() - began, **answer}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            _tell(f"{path.stem}: {number} of {len(left)}, {row['seconds']:.1f} s")


def kept(path: Path) -> dict[str, Row]:
    """The answers of a system by the ids of their questions; half a line, of a run that was killed, is none."""
    lines = _whole(path).splitlines() if path.is_file() else []
    return {row["id"]: row for row in map(json.loads, lines)}


def _left(path: Path, cases: Sequence[Case]) -> list[Case]:
    answered = kept(path)
    return [case for case in cases if case.id not in answered]


def _whole(path: Path) -> bytes:
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _ours(corpus: Path, kb: Path, settings: Settings) -> Generator[Ask, None, None]:
    """What `kb.ask` answers at its defaults, each record of the corpus a document.

    What the model says is kept beside it: with ours.jsonl taken away, only changed prompts are asked again.
    """
    records = ReadOptions(record_id="_id", record_title="title", record_text=("text",))
    with KnowledgeBase(kb, settings=settings, notify=_tell) as base:
        _tell(str(ingest(corpus, into=base, options=records)))
        with closing(KeptChat(settings, kb.with_name("ours-said.jsonl"), _tell)) as chat:

            def answer(case: Case) -> Row:
                reply, full = ask(base, case, chat)
                return full.to_dict() | ({"seconds": reply.seconds} if full.usage else {})

            yield answer


@contextmanager
def peer(command: Sequence[str]) -> Generator[Ask, None, None]:
    """A peer's script, which answers a line with a line. Ctrl-C is ours alone; it ends when we do."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout

    def said(case: Case) -> Row:
        line = ""
        with suppress(BrokenPipeError):
            questions.write(json.dumps({"question": case.question}) + "\n")
            questions.flush()
            line = answers.readline()
        if not line:
            raise errors.UsageProblem(f"{Path(command[1]).name} ended at the question {case.id}; why stands above.")
        return dict(json.loads(line))

    try:
        yield said
    finally:
        process.terminate()
        with suppress(BrokenPipeError):  # what it did not read any more
            questions.close()
        answers.close()
        process.wait()


def _peers_python(venv: Path | None) -> Path:
    """The interpreter of the peers' environment, which is made where it is not there yet."""
    requirements = PEERS / "requirements.txt"
    pinned = hashlib.blake2b(requirements.read_bytes(), digest_size=6).hexdigest()
    folder = venv or Path(platformdirs.user_cache_dir(APP, appauthor=False)) / "bench" / f"peers-{pinned}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = folder / ".ready"
    if venv or ready.is_file():
        return python
    _tell(f"Installing the peers into {folder}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    subprocess.run(pip, check=True)
    ready.touch()
    return python
