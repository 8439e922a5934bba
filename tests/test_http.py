"""Addresses, and LM Studio's four error shapes, as they were recorded."""

from typing import Any

import pytest

import rag.errors as errors
from rag.lmstudio.http import Connection, base_url, error_in
from rag.settings import Settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:1234"),
        ("localhost:8080", "http://localhost:8080"),
        ("192.168.1.7", "http://192.168.1.7:1234"),
        ("http://gpu:1234/", "http://gpu:1234"),
        ("http://gpu:1234/v1", "http://gpu:1234"),
        ("https://models.example.org/lm", "https://models.example.org/lm"),
        ("[::1]:1234", "http://[::1]:1234"),
    ],
)
def test_host_forms(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize("host", ["", "http://", "a b", "ftp://x", "localhost:port", "http://user@host"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(errors.SettingsError, match="not a server address"):
        base_url(host)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.1:9", True), ("[::1]:1", True), ("gpu:1", False), ("127.0.0.1.evil.org", False)],
)
def test_only_loopback_is_local(host: str, local: bool) -> None:
    assert Connection(Settings(host=host)).is_local is local


NO_MODELS = "No models loaded. Please load a model in the developer page or use the 'lms load' command."


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"error": "Unexpected endpoint or method. (POST /v1/rerank)"}, errors.NotSupported),
        (400, {"error": "'messages' field is required"}, errors.ServerError),
        (400, {"error": NO_MODELS}, errors.ModelGone),
        (
            400,
            {"error": {"message": NO_MODELS, "type": "invalid_request_error", "param": "model", "code": None}},
            errors.ModelGone,
        ),
        (400, {"error": "Model was unloaded while the request was still in queue.."}, errors.ModelGone),
        (400, {"error": "The model has crashed without additional information. (Exit code: 6)."}, errors.ModelGone),
        (
            400,
            {"error": "The number of tokens to keep from the initial prompt is greater than the context length."},
            errors.ContextOverflow,
        ),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "request (17398 tokens) is too much",
                    "type": "exceed_context_size_error",
                }
            },
            errors.ContextOverflow,
        ),
        (
            400,
            {
                "error": {
                    "message": 'Invalid model identifier "x".',
                    "type": "invalid_request_error",
                    "code": "model_not_found",
                }
            },
            errors.ModelNotFound,
        ),
        (
            400,
            {
                "error": {
                    "message": 'Failed to load model "x". Error: Model is not embedding.',
                    "code": "model_not_found",
                }
            },
            errors.ModelLoadFailed,
        ),
        (
            500,
            {"error": {"type": "model_load_failed", "message": "insufficient system resources"}},
            errors.NotEnoughMemory,
        ),
        (
            401,
            {
                "error": {
                    "message": "An LM Studio API token is required",
                    "type": "invalid_request",
                    "code": "invalid_api_key",
                }
            },
            errors.Unauthorized,
        ),
        (
            500,
            {
                "type": "error",
                "error": {"type": "api_error", "message": "Engine protocol predict request returned 400"},
            },
            errors.ServerError,
        ),
        (502, "Bad gateway", errors.ServerError),
    ],
)
def test_every_error_shape_becomes_the_most_specific_error(
    status: int, body: Any, kind: type[errors.ServerError]
) -> None:
    assert type(error_in(status, body)) is kind


@pytest.mark.parametrize("body", [{"data": []}, {"error": None, "output": []}, {"models": []}])
def test_what_is_no_error(body: Any) -> None:
    assert error_in(200, body) is None


def test_a_token_in_the_servers_message_is_not_repeated() -> None:
    found = error_in(
        401,
        {"error": {"message": "Malformed LM Studio API token provided: 22aac52a71*****", "code": "invalid_api_key"}},
    )
    assert found is not None
    assert "22aac52a71" not in str(found)


def test_nothing_at_the_address_is_said_with_what_to_do() -> None:
    with (
        Connection(Settings(host="127.0.0.1:9")) as connection,
        pytest.raises(errors.ServerUnreachable, match="lms server start"),
    ):
        connection.request("GET", "/lmstudio-greeting")
