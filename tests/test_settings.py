"""Settings: which of four places wins, and what is refused."""

from pathlib import Path

import pytest

from rag.errors import SettingsError
from rag.settings import ENVIRONMENT, Settings, load_settings


def test_defaults_without_any_source() -> None:
    assert load_settings({}) == Settings()


def test_arguments_beat_environment_beats_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('host = "file:1"\ntop_k = 3\nchunk_tokens = 99\n')
    environ = {"RAG_CONFIG": str(config), "LMSTUDIO_HOST": "env:2", "RAG_TOP_K": "4"}
    settings = load_settings(environ, host="argument:3")
    assert (settings.host, settings.top_k, settings.chunk_tokens) == ("argument:3", 4, 99)


def test_an_override_of_none_is_none_given() -> None:
    assert load_settings({"RAG_TOP_K": "4"}, top_k=None).top_k == 4


@pytest.mark.parametrize(
    ("environ", "token"), [({"LM_API_TOKEN": "a", "LMSTUDIO_API_TOKEN": "b"}, "a"), ({"LMSTUDIO_API_TOKEN": "b"}, "b")]
)
def test_both_names_of_the_token_are_read(environ: dict[str, str], token: str) -> None:
    assert load_settings(environ).api_token == token


def test_a_token_is_never_shown() -> None:
    assert "sk-lm-secret" not in repr(load_settings({"LM_API_TOKEN": "sk-lm-secret"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("colour = 1\n", "Unknown setting 'colour'"),
        ("top_k = 0\n", "too small"),
        ("top_k = [\n", "not valid TOML"),
        ('top_k = "many"\n', "not a int"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings({"RAG_CONFIG": str(config)})
    assert str(config) in str(caught.value)


def test_a_config_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no config file"):
        load_settings({"RAG_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(("word", "value"), [("0", False), ("off", False), ("True", True), ("yes", True)])
def test_switches_in_words(word: str, value: bool) -> None:
    assert load_settings({"RAG_ENGINE": word}).engine is value


@pytest.mark.parametrize("variable", ["RAG_ENGINE", "RAG_TOP_K", "RAG_TEMPERATURE"])
def test_a_value_without_meaning_names_its_variable(variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings({variable: "perhaps"})


def test_every_setting_can_be_set_from_the_environment() -> None:
    assert set(ENVIRONMENT) == set(Settings.__dataclass_fields__)
