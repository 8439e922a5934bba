"""A folder of files in many formats with what should come of each: outcomes, words found, time.

    python -m bench.mixed_files DIR [--only FORMAT]

DIR holds docs/, ground_truth/ and manifest.jsonl with a line for each file: `file`, `format`, `expect` (ok, empty,
encrypted, damaged, unsupported, image-only), and where known `gt` (a file below ground_truth/ with the words that it
holds), `must_include` and `must_not_include` (texts), `pages`.

An outcome agrees where it is the expected one. A file that holds only images may also have been read by OCR, and of
a damaged file the text that is left may have been saved.

Word recall of a file is the size of the multiset intersection of its words and the truth's, by the size of the
truth's. Both sides are treated alike: marks of Markdown and HTML are taken away (comments, tags, addresses of links
and images, entities, escapes), the rest is brought into Unicode's form NFKC and lower case, and a word is a run of
letters and digits, in the scripts that write without blanks a single character. A file with a truth that gives no
text counts 0. Nothing else is taken away from a truth, although some of them are another program's output, and hold
words that stand nowhere in the file.
"""

import argparse
import html
import json
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.record import record
from bench.workers import NEVER, Reading, read_files

_MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"</?[A-Za-z][^<>]*>"), " "),
    (re.compile(r"(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)"), " "),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~$-])"), r"\1"),
)
_WITHOUT_BLANKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_WITHOUT_BLANKS}]|[^\W_{_WITHOUT_BLANKS}]+")


def words(text: str) -> list[str]:
    """The text's words as the module's description defines them."""
    for mark, instead in _MARKUP:
        text = mark.sub(instead, text)
    return _WORD.findall(unicodedata.normalize("NFKC", html.unescape(text)).lower())


def recall(found: Counter[str], truth: Counter[str]) -> float:
    """The part of the truth's words that was found."""
    return (found & truth).total() / truth.total() if truth else 1.0


def agrees(expected: str, outcome: str) -> bool:
    """Whether an outcome is one that the file's description allows."""
    return outcome == expected or (outcome == "ok" and expected in {"image-only", "damaged"})


def main() -> None:
    """Measure and record."""
    arguments = argparse.ArgumentParser(description="Outcomes and word recall on a folder of mixed files.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--only", help="one format; prints the words that are missing, records nothing")
    arguments.add_argument("--seconds", type=float, default=60.0, help="time limit for a file")
    given = arguments.parse_args()
    lines = (given.folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [entry for entry in map(json.loads, lines) if given.only in {None, entry["format"]}]
    paths = [given.folder / "docs" / entry["file"] for entry in entries]
    results = [
        _result(entry, reading, given.folder, show_missing=bool(given.only))
        for entry, (_, reading) in zip(entries, read_files(paths, seconds=given.seconds), strict=True)
    ]
    if given.only:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        figures = _figures(results)
        _show(figures)
        record("mixed-files", figures)


def _result(entry: dict[str, Any], reading: Reading, folder: Path, *, show_missing: bool) -> dict[str, Any]:
    ours = [word for text in reading.texts for word in words(text)]
    result: dict[str, Any] = {
        "file": entry["file"],
        "format": entry["format"],
        "expect": entry["expect"],
        "outcome": reading.outcome,
        "agrees": agrees(entry["expect"], reading.outcome),
        "reason": reading.reason,
        "seconds": round(reading.seconds, 3),
        "bytes": entry["bytes"],
    }
    # What only OCR can find is another measure's.
    if entry.get("gt") and entry["expect"] == "ok":
        truth = words((folder / "ground_truth" / entry["gt"]).read_text(encoding="utf-8"))
        result["recall"] = round(recall(Counter(ours), Counter(truth)), 4)
        if show_missing:
            result["missing"] = dict((Counter(truth) - Counter(ours)).most_common(40))
    if entry["expect"] == "ok":
        running = f" {' '.join(ours)} "
        wanted = [f" {' '.join(words(text))} " for text in entry.get("must_include", [])]
        unwanted = [f" {' '.join(words(text))} " for text in entry.get("must_not_include", [])]
        result["quotes"] = [sum(text in running for text in wanted), len(wanted)]
        result["unwanted"] = [text.strip() for text in unwanted if text in running]
        if "pages" in entry:
            result["pages"] = [reading.page, entry["pages"]]
    return result


def _figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    by_format: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_format[result["format"]].append(result)
    recalls = [result["recall"] for result in results if "recall" in result]
    return {
        "files": len(results),
        "outcomes that agree": sum(result["agrees"] for result in results),
        "never": {kind: sum(result["outcome"] == kind for result in results) for kind in sorted(NEVER)},
        "files with a truth": len(recalls),
        "mean word recall": round(fmean(recalls), 4) if recalls else None,
        "quotes found": [sum(result.get("quotes", [0, 0])[at] for result in results) for at in (0, 1)],
        "pages right": [
            sum(result["pages"][0] == result["pages"][1] for result in results if "pages" in result),
            sum("pages" in result for result in results),
        ],
        "formats": {name: _format(members) for name, members in sorted(by_format.items())},
        "below 0.93": {r["file"]: r["recall"] for r in results if r.get("recall", 1.0) < 0.93},
        "disagreeing": {
            r["file"]: f"{r['outcome']}, not {r['expect']}: {r['reason']}"[:300] for r in results if not r["agrees"]
        },
        "unwanted": {r["file"]: r["unwanted"] for r in results if r.get("unwanted")},
    }


def _format(members: list[dict[str, Any]]) -> dict[str, Any]:
    measured = [member for member in members if "recall" in member]
    worst = min(measured, key=lambda member: float(member["recall"]), default=None)
    return {
        "files": len(members),
        "agree": sum(member["agrees"] for member in members),
        "with a truth": len(measured),
        "mean recall": round(fmean(member["recall"] for member in measured), 4) if measured else None,
        "worst": [worst["recall"], worst["file"]] if worst else None,
        "seconds": round(sum(member["seconds"] for member in members), 2),
        "megabytes": round(sum(member["bytes"] for member in members) / 1e6, 3),
    }


def _show(figures: dict[str, Any]) -> None:
    for name, row in figures["formats"].items():
        worst = f"{row['worst'][0]:.3f} {row['worst'][1]}" if row["worst"] else ""
        mean = f"{row['mean recall']:.3f}" if row["worst"] else "    -"
        print(f"{name:12} {row['agree']:3}/{row['files']:<3} {mean} {row['seconds']:7.2f} s  {worst}")


if __name__ == "__main__":
    main()
