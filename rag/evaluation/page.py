"""The report of an evaluation as one page: no scripts, no network, and every word of a document or question escaped."""

import html
from collections.abc import Mapping, Sequence

from rag.display import one_line, printable
from rag.evaluation.datasets import GOLD
from rag.evaluation.plots import MEASURES, measure_plot, rank_plot
from rag.evaluation.retrieval import DEFAULT, Difference, QueryScore, WayScores

_WORST = 30

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9d9e0; --ground: #fff;
  --better: #18794e; --worse: #ce2c31; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --soft: #b0b4ba; --line: #363a3f;
  --ground: #111113; --better: #3dd68c; --worse: #ff9592; } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--ground); overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, figcaption, small, .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td small { display: block; }
.better { color: var(--better); } .worse { color: var(--worse); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; } figcaption { font-size: .9rem; }
details { border-bottom: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; }
li { margin: .4rem 0; } li p { margin: 0; }
"""


def page(
    title: str, about: str, scores: Mapping[str, WayScores], against: Mapping[str, Mapping[str, Difference]]
) -> str:
    """The page: a table with intervals, plots, and the questions that went worst with what was found instead.

    `scores` are the ways of searching by their names, `against` their differences to the default. The same figures give
    the same page, but for the seconds.
    """
    default = scores[DEFAULT]
    by_passage = GOLD in default.scores[0].query.gains
    unit = "passage that holds the answer" if by_passage else "relevant document"
    names = [name for name in MEASURES if name in default.means]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_escaped(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_escaped(title)}</h1>
<p>{_escaped(about)} Ranked are {"passages; what counts is which hold the answer whole" if by_passage else "documents"}.
Figures are means over the questions, from 0 to 1, with their 95 % intervals.</p>
{_table(names, scores, against)}
<h2>By measure</h2>
<div class="plots">
{"".join(measure_plot(name, scores) for name in names)}</div>
<h2>Where the first {unit} stands</h2>
<p>Questions by its rank, in the default search.</p>
{rank_plot(default.scores, by_passage)}
{_worst(default.scores)}
</body>
</html>
"""


def _table(
    names: Sequence[str], scores: Mapping[str, WayScores], against: Mapping[str, Mapping[str, Difference]]
) -> str:
    head = "".join(f"<th>{_escaped(way)}</th>" for way in scores)
    rows = [
        (MEASURES[name], "".join(_cell(score, name, against.get(way, {}).get(name)) for way, score in scores.items()))
        for name in names
    ]
    rows.append(("seconds a search", "".join(f"<td>{score.seconds:.3f}</td>" for score in scores.values())))
    rows.append(("chat requests a search", "".join(f"<td>{score.chat_requests:.1f}</td>" for score in scores.values())))
    note = (
        "<p>Below the interval: the difference to the default, question by question, with its own interval; in colour "
        "where that leaves out zero.</p>"
        if against
        else ""
    )
    body = "".join(f"<tr><th>{name}</th>{cells}</tr>\n" for name, cells in rows)
    table = f"<table>\n<tr><th></th>{head}</tr>\n{body}</table>"
    return f'<div class="wide">{table}</div>{note}'


def _cell(score: WayScores, name: str, difference: Difference | None) -> str:
    low, high = score.intervals[name]
    changed = ""
    if difference is not None:
        kind = {"+": ' class="better"', "-": ' class="worse"', "": ""}[difference.sign]
        changed = f"<small{kind}>{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})</small>"
    return f"<td>{score.means[name]:.3f}<small>{low:.3f} to {high:.3f}</small>{changed}</td>"


def _worst(scores: Sequence[QueryScore]) -> str:
    """The questions whose answer does not come first, the worst first, folded."""
    late = sorted((s for s in scores if s.rank != 1), key=lambda s: (s.measures["mrr"], s.measures["ndcg@10"]))
    if not late:
        return "<h2>The worst questions</h2>\n<p>There is none: what answers it comes first for every question.</p>"
    shown = "\n".join(map(_question, late[:_WORST]))
    more = f", the {_WORST} worst here" if len(late) > _WORST else ""
    return (
        f"<h2>The worst questions</h2>\n<p>{len(late)} questions whose answer does not come first{more}.</p>\n{shown}"
    )


def _question(score: QueryScore) -> str:
    query = score.query
    rank = f"rank {score.rank}" if score.rank else "not found"
    wanted = [id_ for id_, gain in query.gains.items() if gain > 0 and id_ != GOLD] or [
        f"{source}, characters {start} to {end}" for source, start, end in query.spans
    ]
    found = "".join(
        f"<li>{_escaped(one_line(hit.location))}"
        f'<p class="soft">{_escaped(one_line(" › ".join(hit.headings), 100))}</p>'
        f"<p>{_escaped(one_line(hit.text, 300))}</p></li>"
        for hit in score.found
    )
    return (
        f"<details><summary>{_escaped(one_line(query.text, 300))} <small>{rank}</small></summary>"
        f"<p>Wanted: {_escaped(one_line(', '.join(wanted), 300))}</p><ol>{found or '<li>nothing</li>'}</ol></details>"
    )


def _escaped(text: str) -> str:
    return html.escape(printable(text))
