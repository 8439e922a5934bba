"""What says that a command is at work: a terminal sees it, a pipe and a result do not."""

import os
import sys

import pytest

CODE = """
import sys
from rag.cli.common import busy, notify
with busy("Searching"):
    notify("loading")
print("found")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_sees_what_goes_on_and_the_result_does_not() -> None:
    import pty
    import subprocess

    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=terminal, env=environment, check=True
    )
    os.close(terminal)
    seen = os.read(screen, 1 << 16).decode()
    os.close(screen)
    assert (done.stdout, "Searching …" in seen, "loading" in seen) == (b"found\n", True, True)
    piped = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    assert (piped.stdout, piped.stderr) == (b"found\n", b"loading\n")
