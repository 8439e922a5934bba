"""Our answers beside those of LlamaIndex and LangChain, with the same two models on the same server, in one table.

    python -m bench.answer_table SET_DIR --others DIR DIR [--first N] [--systems ours,llamaindex] [--record]

SET_DIR is a set in the BEIR layout whose questions say whether they can be answered, with gold spans (SQuAD 2 is one);
each line of its corpus.jsonl is a document. Asked are 300 of its questions, half of them without an answer, and 100 of
the others' questions, always the same, in an order in which the first N are a fair sample for any N. Every answer is
kept at once, in --out; what a run did not come to, the next one does. The table is made of the kept answers to the
questions that every system has answered; `--first 0` asks nothing.

The systems: ours, `kb.ask` at its defaults. LlamaIndex, CitationQueryEngine at its defaults. LangChain, its tutorial's
RAG: chunks of 1,000 characters with 200 of overlap, the four nearest of an in-memory vector store, the prompt of its
hub, greedy; it writes no citations, so all that it retrieved counts as cited. Both may write 512 tokens, as ours may,
and have the versions of bench/peers/requirements.txt, in an environment of their own. haiku.rag is left out: it needs
docling and with it torch. A citation is right where it overlaps a gold span. The score of the AUROC is what our answer
carries, and for the others the similarity of the best passage; in the rows "with refusals lowest" those questions that
a system refused come below all that it answered. Whether the others refuse is read from their words, as it is from our
model's.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from bench.answer_questions import chosen, kept_questions, write_questions
from bench.answer_runs import SYSTEMS, kept, run
from bench.answer_scoring import ROWS, figures
from bench.record import record
from rag.cli.common import console
from rag.cli.demo import MODELS
from rag.display import print_table
from rag.errors import RagError
from rag.evaluation.answers import Kind
from rag.evaluation.datasets import read_rows
from rag.settings import APP, load_settings

Figures = dict[str, Any]


def measured(folder: Path, corpus: Path, systems: Sequence[str]) -> Figures:
    """The figures of each system that has answers in a folder, over the questions that all of them have answered."""
    answers = {system: rows for system in systems if (rows := kept(folder / f"{system}.jsonl"))}
    texts = {str(row["_id"]): str(row["text"]) for _, row in read_rows(corpus, "_id", "text")}
    asked = kept_questions(folder / "questions.jsonl")
    cases = [case for case in asked if all(case.id in rows for rows in answers.values())]
    return {
        "questions": {kind.value: sum(case.kind is kind for case in cases) for kind in Kind},
        "systems": {system: figures(system, cases, rows, texts) for system, rows in answers.items()},
    }


def table(systems: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """A row for each measure that any system has, a column for each system."""
    return [
        (label, *(_cell(of, name) for of in systems.values()))
        for label, name in ROWS.items()
        if any(name in of for of in systems.values())
    ]


def _cell(of: Figures, name: str) -> str:
    if name not in of:
        return "-"
    if name.endswith("tokens") or name.startswith("characters"):
        return f"{of[name]:.0f}"
    if name.startswith("seconds"):
        return f"{of[name]:.1f}"
    if name not in of["intervals"]:
        return f"{of[name]:.3f}"
    low, high = of["intervals"][name]
    return f"{of[name]:.3f} ({low:.2f}-{high:.2f})"


def main() -> None:
    """Ask what was not asked yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="the questions and their documents")
    parser.add_argument("--others", type=Path, nargs="+", required=True, help="sets that the documents know nothing of")
    parser.add_argument("--out", type=Path, help="where answers are kept (default: a folder in the user's cache)")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which, in this order (default: %(default)s)")
    parser.add_argument("--first", type=int, metavar="N", help="ask only the first N questions")
    parser.add_argument("--venv", type=Path, help="an environment with the peers (default: made in the user's cache)")
    parser.add_argument("--record", action="store_true", help="write the figures to bench/results as well")
    given = parser.parse_args()
    systems = given.systems.split(",")
    if unknown := set(systems) - set(SYSTEMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    cache = Path(platformdirs.user_cache_dir(APP, appauthor=False))
    folder = given.out or cache / "bench" / f"answers-{given.set.resolve().name}"
    folder.mkdir(parents=True, exist_ok=True)
    cases = chosen(given.set, given.others)
    write_questions(folder / "questions.jsonl", cases)
    corpus = given.set / "corpus.jsonl"
    settings = load_settings(embedding_model=MODELS["embedding"], chat_model=MODELS["llm"])
    for system in systems:
        run(system, cases[: given.first], corpus, folder, settings, given.venv)
    found = measured(folder, corpus, systems)
    counts = ", ".join(f"{count} {kind}" for kind, count in found["questions"].items())
    print(f"Answered by all: {counts}. With 95 % intervals.")
    print_table(console(), ("measure", *found["systems"]), table(found["systems"]), header_when_piped=True)
    if given.record:
        record("answer-table", {"models": MODELS, **found})


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on from here.")
    except RagError as exc:
        sys.exit(str(exc))
