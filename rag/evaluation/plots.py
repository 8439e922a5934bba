"""The plots of an evaluation as SVG: bars with their intervals, in the colours of whatever page they stand on."""

import html
from collections.abc import Mapping, Sequence

from rag.display import one_line, printable
from rag.evaluation.retrieval import QueryScore, WayScores

MEASURES = {
    "ndcg@10": "nDCG@10",
    "recall@5": "recall@5",
    "recall@20": "recall@20",
    "mrr": "MRR",
    "span_recall": "span recall",
    "span_precision": "span precision",
    "span_iou": "span IoU",
}
_RANKS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 10_000))
_LABEL, _BAR, _ROW = 110, 330, 26  # widths of a label and of a whole bar, height of a row, in units of the drawing
_COLOUR, _AXIS = "#5b8def", "rgba(128,128,128,.5)"  # seen on light and dark ground


def measure_plot(name: str, scores: Mapping[str, WayScores]) -> str:
    """A figure of one measure: a bar with its interval for each way of searching."""
    rows = [
        (way, score.means[name], f"{score.means[name]:.3f}", score.intervals[name]) for way, score in scores.items()
    ]
    caption = f"<figcaption>{MEASURES[name]}</figcaption>"
    return f'<figure style="margin:0">{caption}{_bars(rows, MEASURES[name])}</figure>\n'


def rank_plot(scores: Sequence[QueryScore], by_passage: bool) -> str:
    """How many questions have the first of what answers them at which rank."""
    counts = {
        str(low) if low == high else f"{low} to {high}" if high < _RANKS[-1][1] else f"{low} and more": sum(
            score.rank is not None and low <= score.rank <= high for score in scores
        )
        for low, high in (_RANKS[:-1] if by_passage else _RANKS)  # not more than 20 passages are looked at
    }
    counts["not found"] = sum(score.rank is None for score in scores)
    most = max(counts.values())
    rows = [(label, count / most, str(count), None) for label, count in counts.items()]
    return _bars(rows, "Ranks")


def dot_plot(rows: Sequence[tuple[str, Sequence[float]]], line: float, about: str) -> str:
    """Dots from 0 to 1, a row for each of these names, and a line through all rows."""
    drawn = []
    for at, (label, values) in enumerate(rows):
        middle = at * _ROW + _ROW / 2
        drawn.append(_label(label, middle))
        drawn += [
            f'<circle cx="{_LABEL + value * _BAR:.1f}" cy="{middle:g}" r="5" fill="{_COLOUR}" fill-opacity=".6"/>'
            for value in values
        ]
    across = _LABEL + line * _BAR
    height = len(rows) * _ROW
    drawn.append(f'<path stroke="currentColor" stroke-dasharray="4 3" d="M{across:.1f} 0V{height}"/>')
    ends = (("0", _LABEL, "middle"), ("1", _LABEL + _BAR, "middle"))
    drawn += [f'<text x="{x}" y="{height + 14}" text-anchor="{anchor}">{end}</text>' for end, x, anchor in ends]
    drawn.append(f'<text x="{across:.1f}" y="{height + 14}" text-anchor="middle">{line:.2f}</text>')
    return _drawing(drawn, height, about, below=_ROW)


def _bars(rows: Sequence[tuple[str, float, str, tuple[float, float] | None]], about: str) -> str:
    """Bars of a length from 0 to 1, each with a label before it, its value behind it, and an interval on it."""
    drawn = []
    for at, (label, share, value, interval) in enumerate(rows):
        top, middle, end = at * _ROW, at * _ROW + _ROW / 2, _LABEL + share * _BAR
        drawn.append(_label(label, middle))
        drawn.append(
            f'<rect fill="{_COLOUR}" x="{_LABEL}" y="{top + 4}" width="{share * _BAR:.1f}" height="{_ROW - 8}" rx="2">'
            f"<title>{_escaped(label)}: {value}</title></rect>"
        )
        if interval is not None:
            low, high = (_LABEL + bound * _BAR for bound in interval)
            drawn.append(
                f'<path stroke="currentColor" stroke-width="1.5" d="M{low:.1f} {middle:g}H{high:.1f}'
                f'M{low:.1f} {middle - 4:g}v8M{high:.1f} {middle - 4:g}v8"/>'
            )
            end = max(end, high)
        drawn.append(f'<text x="{end + 6:.1f}" y="{middle + 4.5:g}">{value}</text>')
    return _drawing(drawn, len(rows) * _ROW, about)


def _label(text: str, middle: float) -> str:
    return f'<text x="0" y="{middle + 4.5:g}">{_escaped(one_line(text, 16))}</text>'


def _drawing(drawn: Sequence[str], height: int, about: str, below: int = 0) -> str:
    axis = f'<path stroke="{_AXIS}" d="M{_LABEL} 0V{height}"/>'
    return (
        f'<svg viewBox="0 0 {_LABEL + _BAR + 60} {height + below}" role="img" aria-label="{_escaped(about)}" '
        'fill="currentColor" font-family="system-ui, sans-serif" font-size="13" '
        f'style="width:100%;max-width:32rem;height:auto">{"".join(drawn)}{axis}</svg>'
    )


def _escaped(text: str) -> str:
    return html.escape(printable(text))
