"""API tokens: made, listed, revoked, checked. Only salted hashes are kept, in one file of the state folder."""

import hashlib
import hmac
import json
import os
import re
import secrets
import string
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rag.errors import EngineError

PERMISSIONS = ("mcp-json", "per-request-mcp")
"""LM Studio's two: to call servers from mcp.json, and servers that the request itself names."""

_FORM = re.compile(r"sk-lm-([A-Za-z0-9]{8}):[A-Za-z0-9]{20}")
_ALPHABET = string.ascii_letters + string.digits
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the token itself is nowhere but with its owner."""

    id: str
    """The eight characters before its colon."""
    name: str
    created_at: float
    permissions: tuple[str, ...]
    salt: str
    digest: str


def well_formed(text: str) -> bool:
    """Whether a text has the form of LM Studio's tokens."""
    return _FORM.fullmatch(text) is not None


class TokenStore:
    """The tokens of one user's engines. Processes may share it; each change is one atomic rename under a lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tokens.json"
        self._lock = folder / "tokens.lock"
        self._seen: tuple[tuple[int, ...] | None, dict[str, Token]] | None = None

    def create(self, name: str, permissions: Iterable[str] = ()) -> tuple[Token, str]:
        """Make a token and return it with its text, which cannot be had again."""
        with self._changing() as tokens:
            id_ = _random(8)
            while id_ in tokens:
                id_ = _random(8)
            text = f"sk-lm-{id_}:{_random(20)}"
            salt = secrets.token_hex(16)
            token = Token(id_, name, time.time(), tuple(sorted(set(permissions))), salt, _digest(salt, text))
            tokens[id_] = token
        return token, text

    def revoke(self, id_or_name: str) -> list[Token]:
        """Remove the token with that id, or else all of that name; return what was removed."""
        with self._changing() as tokens:
            gone = [tokens[id_or_name]] if id_or_name in tokens else []
            gone = gone or [token for token in tokens.values() if token.name == id_or_name]
            for token in gone:
                del tokens[token.id]
        return gone

    def tokens(self) -> list[Token]:
        """Return all tokens, oldest first."""
        return list(self._read().values())

    def find(self, text: str) -> Token | None:
        """Return the token whose text this is. Looks at the file's stamp each time, so a change counts at once."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        mark = self._mark()
        if self._seen is None or self._seen[0] != mark:
            self._seen = (mark, self._read())
        token = self._seen[1].get(form.group(1))
        if token is None or not hmac.compare_digest(token.digest, _digest(token.salt, text)):
            return None
        return token

    def _mark(self) -> tuple[int, ...] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> dict[str, Token]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))["tokens"]
            return {row["id"]: Token(**{**row, "permissions": tuple(row["permissions"])}) for row in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as exc:
            raise EngineError(
                f"The file with the engine's tokens, {self._path}, cannot be read ({exc}). "
                "Until it is mended or removed no token is accepted; removing it revokes all of them."
            ) from exc

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        from filelock import FileLock, Timeout

        try:
            with FileLock(self._lock, timeout=_LOCK_SECONDS):
                tokens = self._read()
                before = dict(tokens)
                yield tokens
                if tokens != before:
                    self._write(tokens)
        except Timeout as exc:
            raise EngineError(f"Another process has been changing {self._path} for too long.") from exc

    def _write(self, tokens: dict[str, Token]) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}.part")
        temporary.unlink(missing_ok=True)
        # Made with its final rights: a file that is narrowed afterwards can be opened in between.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"tokens": [asdict(token) for token in tokens.values()]}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(salt: str, text: str) -> str:
    # One round is enough: twenty random characters are 119 bits, nobody guesses them however fast a guess is.
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()
