"""Text-like formats against any marks, and against their own repeated without end: nothing lost, nothing that hangs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats import refusal

TEXT_SUFFIXES = [".rst", ".org", ".adoc", ".tex", ".xml", ".ipynb", ".py", ".js", ".c", ".yaml", ".vtt", ".md", ".json"]
marks = st.text(
    alphabet=st.sampled_from(list("ab1 \n\n\t=-~#*+|:.[]{}<>()\\/$&%\"'`_@!ü中\u2028")), min_size=1, max_size=300
)


@given(marks, st.sampled_from(TEXT_SUFFIXES))
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_marks_lose_nothing(tmp_path: Path, text: str, suffix: str) -> None:
    """Whatever the marks mean, pieces hold all of the text, or the file is refused by name."""
    assert f"any{suffix}" in refusal(tmp_path, f"any{suffix}", text)


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
@pytest.mark.parametrize(
    "unit", ["a", "a b ", "=-", "(", "[", "{", "<a>", "| ", "* ", "a:\n", "==\n", "\\x{", "def f(\n", "`", "+-", "::\n"]
)
def test_repeated_marks_are_read_or_refused(tmp_path: Path, suffix: str, unit: str) -> None:
    """What a format's marks are made of, a hundred thousand characters of it: none has a spot where reading hangs."""
    assert f"a{suffix}" in refusal(tmp_path, f"a{suffix}", unit * (100_000 // len(unit)))
