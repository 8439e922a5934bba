"""One connection to a model server: address, token, and its four error shapes turned into ours."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

import rag.errors as errors
from rag.settings import Settings

if TYPE_CHECKING:
    import httpx2
    import openai

Notify = Callable[[str], None]
log_notice: Notify = logging.getLogger("rag").info

DEFAULT_PORT = 1234
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_GONE = re.compile(r"no models loaded|was unloaded|not loaded|model unloaded|has crashed", re.IGNORECASE)
_MEMORY = re.compile(
    r"insufficient (system )?(resources|memory)|out of memory|not enough memory|failed to allocate|unable to allocate",
    re.IGNORECASE,
)
_OVERFLOW = re.compile(r"context (length|size|window)|n_ctx|n_keep|tokens to keep", re.IGNORECASE)


def base_url(host: str) -> str:
    """The server's root from `host`, `host:port` or a URL, without a slash or a `/v1` at its end.

    Raises SettingsError where no host can be read from it.
    """
    url = host.strip().rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    url = url.removesuffix("/v1")
    match = re.fullmatch(r"(https?)://(\[[0-9a-fA-F:]+\]|[^/:\s@?#]+)(:\d{1,5})?(/[^\s?#]*)?", url)
    if not match:
        raise errors.SettingsError(f"{host!r} is not a server address. Use host, host:port or http://host:port.")
    scheme, name, port, path = match.groups()
    if port is None and scheme == "http":
        port = f":{DEFAULT_PORT}"
    return f"{scheme}://{name}{port or ''}{path or ''}"


def error_in(status: int, body: Any) -> errors.ServerError | None:
    """The error that an answer carries, whichever of LM Studio's four shapes it has; None where it is none.

    A status of 200 proves nothing: LM Studio answers unknown routes with 200 and `{"error": "Unexpected endpoint…"}`.
    """
    found = body.get("error") if isinstance(body, dict) else None
    if found is None:
        return _classified(status, str(body)[:500] or f"HTTP status {status}", "") if status >= 400 else None
    if isinstance(found, dict):
        kinds = " ".join(str(found[name]) for name in ("type", "code") if found.get(name))
        return _classified(status, str(found.get("message", found)), kinds)
    return _classified(status, str(found), "")


def _classified(status: int, message: str, kinds: str) -> errors.ServerError:
    """Sort by what the caller must do next. JIT failures all carry the code model_not_found, so text comes first."""
    if message.startswith("Unexpected endpoint"):
        return errors.NotSupported(
            f"{message} Is it the server's address, without a path, and is LM Studio up to date?"
        )
    if status in (401, 403) or "invalid_api_key" in kinds:
        return errors.Unauthorized(f"{_without_token(message)} Set LM_API_TOKEN to a token of this server.")
    if _GONE.search(message):
        return errors.ModelGone(message)
    if _MEMORY.search(message):
        return errors.NotEnoughMemory(message)
    if "exceed_context_size" in kinds or _OVERFLOW.search(message):
        return errors.ContextOverflow(message)
    if "model_load_failed" in kinds or "failed to load" in message.lower():
        return errors.ModelLoadFailed(message)
    if "model_not_found" in kinds or "invalid model identifier" in message.lower():
        return errors.ModelNotFound(message)
    return errors.ServerError(f"{message} (HTTP {status})")


def _without_token(message: str) -> str:
    """The server repeats the start of a malformed token; a secret has no place in a log."""
    return re.sub(r"(provided: )\S+", r"\1***", message)


class Connection:
    """A server's address and how to speak to it. Opens nothing until the first call; `with` closes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base = base_url(settings.host)
        self.host = self.base.split("://", 1)[1]

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; the connection opens new ones if it is used again."""
        for name in ("_httpx", "openai"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                client.close()

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, by its address."""
        name = re.sub(r":\d+(/.*)?$", "", self.host).strip("[]")
        return name in LOOPBACK

    @property
    def port(self) -> int:
        """The port in the address."""
        match = re.search(r":(\d+)(/.*)?$", self.host)
        return int(match.group(1)) if match else 443

    @cached_property
    def _httpx(self) -> "httpx2.Client":
        import httpx2

        token = self.settings.api_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx2.Timeout(self.settings.timeout_s, connect=5.0)
        return httpx2.Client(base_url=self.base, headers=headers, timeout=timeout, trust_env=not self.is_local)

    @cached_property
    def openai(self) -> "openai.OpenAI":
        """OpenAI's client on the server's `/v1`, without retries of its own: we know better what helps."""
        import openai

        return openai.OpenAI(
            base_url=f"{self.base}/v1",
            api_key=self.settings.api_token or "lm-studio",
            organization="",
            project="",
            max_retries=0,
            http_client=self._httpx,
        )

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        """One call: the parsed JSON of the answer. Raises ServerError, as the most specific of its kinds."""
        options: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
        with self.translated():
            response = self._httpx.request(method, path, json=body, **options)
        return self.checked(response.status_code, response.content)

    def checked(self, status: int, content: bytes) -> Any:
        """The JSON in an answer's body. Raises ServerError where it carries an error or is no JSON."""
        try:
            body = orjson.loads(content)  # vectors as text: the standard library takes three times as long
        except ValueError as exc:
            text = content[:200].decode("utf-8", "replace")
            raise errors.BadReply(
                f"{self.base} answered HTTP {status} with something that is not JSON: {text!r}"
            ) from exc
        if error := error_in(status, body):
            raise error
        return body

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of httpx2 and openai into ours, `from` the original."""
        import httpx2

        try:
            yield
        except httpx2.ConnectError as exc:
            raise self._unreachable() from exc
        except httpx2.TimeoutException as exc:
            raise errors.OutOfTime(self._silent()) from exc
        except httpx2.TransportError as exc:
            raise errors.ModelGone(f"{self.base} closed the connection in the middle of an answer: {exc}") from exc

    @contextmanager
    def translated_openai(self) -> Iterator[None]:
        """As `translated`, for calls through openai's client, whose import takes half a second."""
        import openai

        try:
            with self.translated():
                yield
        except openai.OpenAIError as exc:
            raise self._from_openai(exc) from exc

    def _from_openai(self, exc: Exception) -> errors.ServerError:
        import httpx2
        import openai

        if isinstance(exc, openai.APIStatusError):
            try:
                body = exc.response.json()
            except ValueError:
                body = exc.response.text
            return error_in(exc.status_code, body) or errors.ServerError(str(exc))
        if isinstance(exc, openai.APITimeoutError):
            return errors.OutOfTime(self._silent())
        if isinstance(exc, openai.APIConnectionError):
            if isinstance(exc.__cause__, httpx2.ConnectError):
                return self._unreachable()
            return errors.ModelGone(
                f"{self.base} closed the connection in the middle of an answer: {exc.__cause__ or exc}"
            )
        if isinstance(exc, openai.APIError):  # `event: error` within a stream
            return error_in(400, {"error": exc.body or str(exc)}) or errors.ServerError(str(exc))
        return errors.BadReply(f"{self.base}: {exc}")

    def _silent(self) -> str:
        limit = f"RAG_TIMEOUT_S, {self.settings.timeout_s:g} now, raises the limit"
        return f"{self.base} did not answer in time. Is it busy? {limit}."

    def _unreachable(self) -> errors.ServerUnreachable:
        return errors.ServerUnreachable(
            f"Nothing answers at {self.base}. Start LM Studio's server (Developer tab, or `lms server start`), "
            "or `rag engine start`; LMSTUDIO_HOST names another address."
        )
