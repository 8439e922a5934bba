"""`rag config`: every setting, its value, its unit and where it comes from."""

import json
from pathlib import Path

import pytest
from in_process import run

from rag.settings import ENVIRONMENT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text('top_k = 3\nchunk_tokens = 99\nservice_token = "from-the-file"\n')
    return file


def test_each_setting_says_where_it_comes_from(config: Path) -> None:
    environment = {"RAG_CONFIG": str(config), "RAG_TOP_K": "4", "LM_API_TOKEN": "sk-lm-secret", "RAG_TTL_S": "5"}
    done = run("rag", "config", "show", "--json", "--ttl", "60", environment=environment)
    found = json.loads(done.out)
    rows = {row["name"]: row for row in found["settings"]}
    assert (found["file"], found["exists"], set(rows)) == (str(config), True, set(ENVIRONMENT))
    assert {name: (row["value"], row["from"]) for name, row in rows.items() if row["from"] != "default"} == {
        "top_k": (4, "RAG_TOP_K"),
        "chunk_tokens": (99, str(config)),
        "ttl_s": (60, "the arguments"),
        "api_token": ("***", "LM_API_TOKEN"),
        "service_token": ("***", str(config)),
    }
    assert rows["timeout_s"]["unit"] == "s"
    assert all(row["about"] and row["variables"] for row in rows.values())


def test_secrets_are_stars_in_every_form(config: Path) -> None:
    environment = {"RAG_CONFIG": str(config), "LM_API_TOKEN": "sk-lm-secret"}
    for arguments in ((), ("--json",)):
        done = run("rag", "config", "show", *arguments, environment=environment)
        assert "***" in done.out
        assert not any(secret in done.out + done.err for secret in ("sk-lm-secret", "from-the-file"))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("RAG_TOPK", "4", "Unknown setting RAG_TOPK in the environment. Is RAG_TOP_K meant?"),
        ("RAG_RERANKR", "llm", "Is RAG_RERANKER meant?"),
        ("RAG_ZZZZZZZZ", "1", "Known: LMSTUDIO_API_TOKEN, LMSTUDIO_HOST"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(variable: str, value: str, told: str) -> None:
    done = run("rag", "config", "show", environment={variable: value})
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(config: Path) -> None:
    config.write_text("chunk_token = 99\n")
    done = run("rag", "config", "show", environment={"RAG_CONFIG": str(config)})
    assert (done.code, "Is chunk_tokens meant?" in done.err, str(config) in done.err) == (2, True, True)


def test_the_path_of_the_file_is_told_whether_or_not_it_is_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert run("rag", "config", "path", environment={"RAG_CONFIG": str(missing)}).out == f"{missing}\n"
    told = json.loads(run("rag", "config", "path", "--json", environment={"RAG_CONFIG": str(missing)}).out)
    assert told == {"file": str(missing), "exists": False}
