"""How many planted fabrications the check of citations notices, against how many true claims it doubts.

    python -m bench.fabrications [FILE] [--misses]

FILE holds true claims with their evidence, one JSON object a line (see `rag.evaluation.fabricate.read_pairs`); without
it the project's own pairs are used, those that the suite's gate reads.
"""

import sys
from collections import Counter
from pathlib import Path

from rag.citing.cite import ENOUGH
from rag.evaluation.fabricate import KINDS, read_pairs
from rag.evaluation.planted import curve, scored

OWN = Path(__file__).parents[1] / "data" / "claims.jsonl"


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
