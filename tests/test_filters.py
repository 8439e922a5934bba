"""Ignore files and patterns: what Git would leave out, we leave out, and no pattern costs more than a glance."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.filters import Filter, Rules, included, posix, rules_at, why_absent
from ingest.sources import File, scopes, walk
from rag.errors import UsageProblem


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    for name in ("a.md", "b.log", "sub/c.md", "sub/d.log", "drafts/e.md", "sub/drafts/f.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def found(path: Path, **chosen: object) -> set[str]:
    scope = scopes([path], {}, Filter(**chosen))[0]  # type: ignore[arg-type]
    return {entry.source for entry in walk(scope) if isinstance(entry, File)}


def test_nested_ignore_files_are_followed_and_the_inner_one_wins(docs: Path) -> None:
    (docs / ".gitignore").write_text("*.log\ndrafts/\n")
    (docs / "sub" / ".gitignore").write_text("!d.log\n")
    assert found(docs) == {"docs/a.md", "docs/sub/c.md", "docs/sub/d.log"}
    assert len(found(docs, gitignore=False)) == 6


def test_a_ragignore_overrules_git_in_both_ways(docs: Path) -> None:
    (docs / "sub" / ".gitignore").write_text("*.log\n")
    (docs / ".ragignore").write_text("# ours\r\n/a.md\r\n!*.log\r\n")
    assert found(docs) == {"docs/b.log", "docs/sub/c.md", "docs/sub/d.log", "docs/drafts/e.md", "docs/sub/drafts/f.md"}
    assert "docs/a.md" not in found(docs, gitignore=False)


def test_the_rules_of_the_repository_count_in_a_folder_of_it(docs: Path) -> None:
    """So it does not matter whether a folder or its parent is named; but a folder that was named is taken."""
    (docs / ".git").mkdir()
    (docs / ".gitignore").write_text("/sub/*.log\ndrafts/\n")
    assert found(docs / "sub") == {"sub/c.md"}
    assert found(docs / "drafts") == {"drafts/e.md"}


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"include": ("*.md",)}, {"a.md", "sub/c.md", "drafts/e.md", "sub/drafts/f.md"}),
        ({"include": ("sub/",)}, {"sub/c.md", "sub/d.log", "sub/drafts/f.md"}),
        ({"include": ("sub/", "!*.log")}, {"sub/c.md", "sub/drafts/f.md"}),
        ({"exclude": ("drafts/",)}, {"a.md", "b.log", "sub/c.md", "sub/d.log"}),
        ({"exclude": ("/drafts",)}, {"a.md", "b.log", "sub/c.md", "sub/d.log", "sub/drafts/f.md"}),
        ({"exclude": ("sub/**",), "include": ("*.md", "*.log")}, {"a.md", "b.log", "drafts/e.md"}),
    ],
)
def test_include_and_exclude(docs: Path, chosen: dict[str, tuple[str, ...]], names: set[str]) -> None:
    assert found(docs, **chosen) == {f"docs/{name}" for name in names}
    if include := chosen.get("include"):
        everything = {source.removeprefix("docs/") for source in found(docs, exclude=chosen.get("exclude", ()))}
        assert {name for name in everything if included(include, name)} == names


def test_a_file_that_was_named_is_read_whatever_the_rules_say(docs: Path) -> None:
    (docs / ".gitignore").write_text("*\n")
    (docs / ".hidden.md").write_text("x")
    for name in ("a.md", ".hidden.md"):
        assert found(docs / name, exclude=("*",)) == {f"docs/{name}"}


@pytest.mark.parametrize("pattern", ["", "#x", "[", "a\\", "/"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageProblem, match="--exclude"):
        Filter(exclude=(pattern,))


def test_the_reason_why_a_file_is_left_out_is_known(docs: Path) -> None:
    (docs / ".gitignore").write_text("*.log\n")
    (docs / "sub" / ".ragignore").write_text("drafts\n")
    (docs / ".hidden").mkdir()
    chosen = Filter(exclude=("e.*",))
    reasons = {
        name: why_absent(docs / name, docs, docs, chosen)
        for name in ("b.log", "sub/d.log", "sub/drafts/f.md", "drafts/e.md", ".hidden/x.md")
    }
    assert reasons == {
        "b.log": "excluded by docs/.gitignore",
        "sub/d.log": "excluded by docs/.gitignore",
        "sub/drafts/f.md": "excluded by sub/.ragignore",
        "drafts/e.md": "excluded by --exclude",
        ".hidden/x.md": "excluded: it is hidden or a tool's own",
    }


def test_an_ignore_file_that_cannot_be_followed_closes_its_folder(docs: Path) -> None:
    """Better nothing from there than what somebody wanted left out."""
    (docs / "sub" / ".ragignore").write_text("x\n" * 20_000)
    entries = list(walk(scopes([docs], {})[0]))
    assert {entry.source for entry in entries} == {"docs/a.md", "docs/b.log", "docs/drafts/e.md", "docs/sub"}
    assert [entry.reason for entry in entries if not isinstance(entry, File)] == [
        "an ignore file cannot be read: it has more than 10000 lines"
    ]


@pytest.mark.parametrize("pattern", ["a*" * 60 + "b", "**/a/" * 40 + "b", "*a" * 60 + "[!a]*", "a/**/" * 40 + "b"])
def test_no_pattern_is_slow(tmp_path: Path, pattern: str) -> None:
    """With plain backtracking each of these runs for longer than the sun will shine."""
    rules = Rules(exclude=rules_at(tmp_path, tmp_path, Filter(exclude=(pattern,))).exclude)
    began = time.process_time()
    for path in ("a" * 255, "a/" * 2000 + "a"):
        assert not rules.reason_to_leave(f"{posix(tmp_path)}/{path}", path.rpartition("/")[2], False)
    assert time.process_time() - began < 5


NAMES = st.sampled_from(["a", "b", "ab", "a.md", "b.md", "a b", "A", "aab", "#x", "!y", "[z]", "a-b", "a]b"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
SEGMENT = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "*",
            "?",
            ".md",
            "[ab]",
            "[!a]",
            "[a-c]",
            "[^b-]",
            "[]a]",
            "[[:alpha:]]",
            "\\a",
            "\\!",
            "#",
            " ",
            "-",
        ]
    ),
    min_size=1,
    max_size=4,
).map("".join)
LINE = st.builds(
    lambda negated, first, segments, last: negated + first + "/".join(segments) + last,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(st.one_of(SEGMENT, st.just("**")), min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " ", "\\ ", "\r"]),
)


@pytest.mark.skipif(shutil.which("git") is None, reason="Git itself is what this compares with")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(PATHS, min_size=1, max_size=12),
    st.dictionaries(
        PATHS.map(lambda path: path.rpartition("/")[0]), st.lists(LINE, min_size=1, max_size=4), max_size=3
    ),
)
def test_what_is_left_is_what_git_leaves(paths: list[str], ignored: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        subprocess.run(["git", "init", "--quiet", top], check=True)
        for path in paths:
            if not any(part.is_file() for part in (top / path).parents) and not (top / path).is_dir():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_text("x")
        for folder, lines in ignored.items():
            if (top / folder).is_dir():
                (top / folder / ".gitignore").write_text("\n".join(lines), newline="")
        listed = subprocess.run(
            ["git", "-C", top, "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"],
            check=True,
            capture_output=True,
        ).stdout.decode()
        theirs = {path for path in listed.split("\0") if path and not path.endswith(".gitignore")}
        ours = {entry.source.partition("/")[2] for entry in walk(scopes([top], {})[0]) if isinstance(entry, File)}
        assert ours == theirs
