"""What a person types at a terminal: lines that can be edited, brought back, and go on in the next."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

_MORE = "\\"  # at a line's end: the next one belongs to it


def typed(prompt: str, words: Sequence[str], earlier: Iterable[str]) -> Iterator[str]:
    """What is typed, until Ctrl-D: a line, or several that a backslash or a paste joined. Ctrl-C throws it away.

    TAB completes `words`, the arrow keys bring back what was typed `earlier`, where Python has readline.
    """
    _prepare(words, earlier)
    while True:
        try:
            line = input(prompt)
            while line.endswith(_MORE):
                line = f"{line.removesuffix(_MORE)}\n{input('… ')}"
            yield line
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()  # as a shell does


def _prepare(words: Sequence[str], earlier: Iterable[str]) -> None:
    try:
        import readline
    except ImportError:  # Windows' terminal edits lines itself
        return
    readline.set_completer(lambda text, n: [*(word for word in words if word.startswith(text)), None][n])
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    readline.parse_and_bind("set enable-bracketed-paste on")  # Python switches it off; else each line is a question
    readline.clear_history()
    for line in earlier:
        readline.add_history(line.replace("\n", " "))


@contextmanager
def unseen() -> Iterator[None]:
    """Keep what is typed meanwhile from the screen, where it would break what is being printed; it is read afterwards.

    Ctrl-C works as ever. On Windows the terminal does so by itself.
    """
    if sys.platform == "win32":
        yield
        return
    import termios

    try:
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
    except (termios.error, OSError, ValueError):  # a pipe
        yield
        return
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(keyboard, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
