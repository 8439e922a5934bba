"""How many planted fabrications the check of citations notices, against how many true claims it doubts.

    python -m bench.fabrications [FILE] [--misses]

FILE holds true claims with their evidence, one JSON object a line (see `bench.fabricate.read_pairs`); without it the
project's own pairs are used, those that the suite's gate reads.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fabricate import KINDS, Fabrication, Pair, fabrications, read_pairs
from rag.citing.cite import ENOUGH, support

OWN = Path(__file__).parents[1] / "data" / "claims.jsonl"
_LEVELS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)


@dataclass(frozen=True, slots=True)
class Scores:
    """The support of each true claim and of each fabrication, 0 to 1."""

    true: list[tuple[float, Pair]]
    false: list[tuple[float, Fabrication]]

    def false_alarms(self, least: float = ENOUGH) -> float:
        """The share of true claims below `least`."""
        return sum(score < least for score, _ in self.true) / len(self.true)

    def detected(self, kind: str, least: float = ENOUGH) -> float:
        """The share of fabrications of a kind below `least`."""
        scores = [score for score, made in self.false if made.kind == kind]
        return sum(score < least for score in scores) / len(scores) if scores else float("nan")


def scored(pairs: Sequence[Pair], seed: int = 1) -> Scores:
    """Check every claim and every fabrication made of it."""
    true = [(support(pair.claim, pair.passages, pair.question), pair) for pair in pairs]
    false = [(support(made.claim, made.passages, made.pair.question), made) for made in fabrications(pairs, seed)]
    return Scores(true, false)


def curve(scores: Scores) -> list[dict[str, float]]:
    """Detection by kind at each level of false alarms, and last at the operating point in use."""
    marks = sorted(score for score, _ in scores.true)
    leasts = [marks[min(int(level * len(marks)), len(marks) - 1)] for level in _LEVELS] + [ENOUGH]
    return [
        {
            "least": least,
            "false_alarms": scores.false_alarms(least),
            **{kind: scores.detected(kind, least) for kind in KINDS},
        }
        for least in leasts
    ]


def main() -> None:
    """Print the curve, the ways of denial one by one and, if asked, what was missed or doubted in vain."""
    arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
    scores = scored(read_pairs(Path(arguments[0]) if arguments else OWN))
    counts = Counter(made.kind for _, made in scores.false)
    print(f"{len(scores.true)} true claims; fabrications: {dict(counts)}")
    print(f"{'least':>6} {'false alarms':>13}" + "".join(f"{kind:>10}" for kind in KINDS))
    for row in curve(scores):
        print(f"{row['least']:6.2f} {row['false_alarms']:13.1%}" + "".join(f"{row[kind]:10.1%}" for kind in KINDS))
    print("the last row is the operating point; detected there, by the way it was done:")
    for (kind, how), count in sorted(Counter((made.kind, made.how) for _, made in scores.false).items()):
        found = sum(score < ENOUGH for score, made in scores.false if (made.kind, made.how) == (kind, how))
        print(f"  {kind:9} {how:16} {found:4} of {count}")
    if "--misses" in sys.argv:
        for score, pair in sorted(scores.true, key=lambda one: one[0]):
            if score < ENOUGH:
                print(f"doubted {score:.2f}: {pair.claim}")
        for score, made in scores.false:
            if score >= ENOUGH:
                print(f"missed {score:.2f} {made.kind} ({made.how}): {made.claim}")


if __name__ == "__main__":
    main()
