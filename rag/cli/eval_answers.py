"""`rag eval --answers`: what is answered to questions with known answers, how it is cited, and what is refused."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rag.errors as errors
from rag.cli.common import console, knowledge_base, notify, print_json
from rag.cli.eval_runs import cache_folder, earlier, set_base, tracked, worse_than

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.evaluation.answers import AnswerScores, Case
    from rag.evaluation.fitting import Fit
    from rag.evaluation.planted import Scores
    from rag.knowledge_base import KnowledgeBase
    from rag.types import Answer

_PLANTED_IN = 300  # true claims; a check takes milliseconds, and more do not change a figure


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What `rag eval --answers` is told besides the set: see its help."""

    limit_queries: int | None
    off_topic: tuple[Path, ...]
    fresh: bool
    fit: bool
    baseline: Path | None
    gate: float
    download: bool | None
    json: bool


def evaluate_answers(path: Path, kb: str | None, options: AnswerOptions) -> None:
    """Ask the questions, score what is answered, print it. Exits with 1 where a figure fell below the baseline's."""
    from rag.evaluation.answers import MEASURES, Kind, answer_scores
    from rag.evaluation.asking import KeptChat, ask
    from rag.evaluation.fitting import enough
    from rag.evaluation.planted import gold_pairs, scored

    if options.fit and path.expanduser().is_dir():
        raise errors.UsageProblem("--fit is for a knowledge base of one's own: a file of questions, and --kb.")
    higher_is_better = [name for name in MEASURES if name != "refused"]
    before = earlier(options.baseline, higher_is_better) if options.baseline else {}
    name, base, cases = _subject(path.expanduser(), kb, options)
    if options.fit:
        enough([case.kind is Kind.ANSWERABLE for case in cases])
    kept = cache_folder() / f"answers-{name}.jsonl"
    chat = KeptChat(base.settings, kept, notify, fresh=options.fresh)
    answered, answers = [], []
    notify(f"Asking {len(cases)} questions; what the model says is kept in {kept}.")
    with base:
        try:
            for case in tracked("questions", cases):
                reply, answer = ask(base, case, chat)
                answered.append((case, reply))
                answers.append(answer)
                if len(answered) % 10 == 0 and not console(stderr=True).is_terminal:
                    notify(f"{len(answered)} of {len(cases)} questions.")
        except KeyboardInterrupt:
            notify(f"Interrupted at question {len(answered) + 1} of {len(cases)}; the same command goes on from there.")
            raise
        finally:
            chat.close()
        scores = answer_scores(answered)
        planted = scored(gold_pairs(base, cases)[:_PLANTED_IN])
        found = _fit(base, cases, answers) if options.fit else None
        figures = {
            "set": name,
            "embedding_model": base.store.identity.embedding_model,
            "chat_model": next((answer.model for answer in answers if answer.model), None),
            "queries": len(cases),
            **scores.to_dict(),
            "fabrications": planted.to_dict(),
        }
    if found is not None:
        figures["fit"] = found.to_dict() | {"kept": found.pays}
    if options.json:
        print_json(figures)
    else:
        _print(scores, planted, found)
    worse = worse_than(figures, before, options.gate)
    for line in worse:
        notify(line)
    if worse:
        sys.exit(1)


def _subject(path: Path, kb: str | None, options: AnswerOptions) -> "tuple[str, KnowledgeBase, list[Case]]":
    """The knowledge base and the questions: a sample of the set's, and for three of these one that is off topic."""
    from rag.evaluation.asking import off_topic_cases, own_cases, set_cases
    from rag.evaluation.datasets import read_dataset, read_questions
    from rag.evaluation.retrieval import judged_names, sampled, spanned_names

    if path.is_dir():
        if kb is not None:
            raise errors.UsageProblem(f"{path} brings its own documents; --kb is for a file of questions.")
        dataset = read_dataset(path)
        name, base = dataset.name, set_base(dataset.name, dataset.spanned, download=options.download)
        spanned = dataset.spanned != dataset.source or any(query.spans for query in dataset.queries)
        cases = set_cases(dataset, spanned_names(base, dataset) if spanned else judged_names(base, dataset))
    else:
        questions = read_questions(path)
        name, base = path.stem, knowledge_base(kb, download=options.download)
        cases = own_cases(base, questions)
    chosen = list(sampled(cases, options.limit_queries))
    if options.off_topic:
        others = [off_topic_cases(other.expanduser()) for other in options.off_topic]
        each = max(1, round(len(chosen) / 3 / len(others)))
        chosen += [case for some in others for case in sampled(some, each)]
    return name, base, chosen


def _fit(base: "KnowledgeBase", cases: "Sequence[Case]", answers: "Sequence[Answer]") -> "Fit":
    """Learn how to abstain, and keep it where it decides held-out questions better."""
    from rag.confidence import Confidence, Signals
    from rag.confidence_file import save_confidence
    from rag.evaluation.answers import Kind
    from rag.evaluation.fitting import fit

    told = [
        (Signals(**answer.signals), case.kind is Kind.ANSWERABLE)
        for case, answer in zip(cases, answers, strict=True)
        if answer.signals
    ]
    found = fit(told, Confidence(base.confidence.scale))  # an earlier fit may have learnt from the same questions
    if found.pays:
        save_confidence(base.store.path, base.store.made_with(), found.confidence)
    return found


def _print(scores: "AnswerScores", planted: "Scores", found: "Fit | None") -> None:
    """A row for each figure."""
    from rag.display import print_table

    counts = ", ".join(f"{count} {kind.value.replace('_', ' ')}" for kind, count in scores.counts.items() if count)
    notify(f"{counts}; {scores.citations} citations. Shares from 0 to 1, with 95 % intervals.")
    rows = []
    for name, value in scores.values.items():
        low, high = scores.intervals[name]
        rows.append((name.replace("_", " "), f"{value:.3f} ({low:.2f}-{high:.2f})"))
    rows += [(name.replace("_", " "), f"{value:.2f}") for name, value in scores.cost.items()]
    rows += _planted(planted)
    print_table(console(), ("measure", "value"), rows, header_when_piped=True)
    if found is not None:
        then, now = found.before, found.after
        held = (
            f"held-out questions decided right {now.accuracy:.3f} (by default {then.accuracy:.3f}), answerable ones "
            f"refused {now.refused:.3f} ({then.refused:.3f})"
        )
        kept = "kept; `rag status` shows it" if found.pays else "not kept, as it is no better"
        notify(f"Fitted on {found.confidence.fitted} questions, {held}: {kept}.")


def _planted(planted: "Scores") -> "list[tuple[str, str]]":
    from rag.evaluation.fabricate import KINDS

    counts = Counter(made.kind for _, made in planted.false)
    alarms = [("true claims doubted", f"{planted.false_alarms():.3f} of {len(planted.true)}")] if planted.true else []
    noticed = [(kind, f"{planted.detected(kind):.3f} of {counts[kind]}") for kind in KINDS if counts[kind]]
    changed = {"negation": "the opposite"}
    return alarms + [(f"planted: {changed.get(kind, f'another {kind}')}, noticed", shown) for kind, shown in noticed]
