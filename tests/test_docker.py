"""Dockerfile and compose.yaml, as far as they can be checked without Docker: what they name is there."""

import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml
from test_docs import COMMANDS, parse

from rag.service.options import ServiceOptions
from rag.settings import ENVIRONMENT, load_settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)["services"]["rag"]
OURS = {name for names in ENVIRONMENT.values() for name in names} | {"RAG_STATE_DIR"}


def steps(kind: str) -> list[str]:
    return [rest for name, rest in STEPS if name == kind]


def test_what_is_copied_is_there() -> None:
    """Also for Docker, to which .dockerignore shows nothing else; and all that the package is built from is copied."""
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    copied = {source for line in steps("COPY") for source in line.split()[:-1]}
    assert copied == shown
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    about = project["project"]
    assert {*wheel["packages"], *wheel["force-include"], about["readme"], *about["license-files"]} <= copied
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert {"service", "mcp"} == set(extras.split(",")) <= set(about["optional-dependencies"])


def test_pins_are_what_pip_takes() -> None:
    """The Dockerfile's sed leaves one requirement a line, without hashes."""
    kept = [
        re.sub(r" *\\$", "", line)
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not re.match(r" *(--hash|#)", line)
    ]
    assert r"sed -E -e '/^ *(--hash|#)/d' -e 's/ *\\$//' constraints.txt" in DOCKERFILE
    assert len(kept) > 100
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+-]+( ; .+)?", line) for line in kept)


def test_commands_exist() -> None:
    """What the image starts, and what the comment says to run in it."""
    name, *arguments = json.loads(steps("CMD")[0])
    parse(COMMANDS[name], arguments, name)
    assert arguments[:1] == ["serve"]
    told = re.findall(r"docker compose run --rm rag ([^;\n]+)", COMPOSE_TEXT)
    assert told
    for command in told:
        name, *arguments = shlex.split(command)
        parse(COMMANDS[name], arguments, name)


def test_variables_are_ours() -> None:
    """Each is one that the program reads; one that is set to nothing counts as not set."""
    image = dict(one.split("=", 1) for line in steps("ENV") for one in line.split())
    assert set(image) - {"PYTHONUNBUFFERED"} <= OURS
    assert set(SERVICE["environment"]) <= OURS
    empty = dict.fromkeys(SERVICE["environment"], "")
    assert load_settings({**empty, "RAG_KB": image["RAG_KB"]}).kb == Path(image["RAG_KB"])
    assert load_settings(empty).service_token is None


def test_only_with_a_token_and_not_as_root() -> None:
    """It listens for everybody in the container, so compose demands a token; the host opens it to itself alone."""
    assert "0.0.0.0" in steps("CMD")[0]
    assert SERVICE["environment"]["RAG_SERVICE_TOKEN"].startswith("${RAG_SERVICE_TOKEN:?")
    assert steps("USER") == ["rag"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])


def test_the_port_and_the_pulse() -> None:
    port = inspect.signature(ServiceOptions).parameters["port"].default
    assert steps("EXPOSE") == [str(port)]
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]
    check = SERVICE["healthcheck"]["test"]
    (address,) = re.findall(r"http://[^']+", check[-1])
    assert address == f"http://127.0.0.1:{port}/health"
    compile(check[-1], "healthcheck", "exec")


def test_what_is_kept_lies_in_the_volume() -> None:
    (volume,) = steps("VOLUME")
    assert f"rag:{volume}" in SERVICE["volumes"]
    kept = re.findall(r"RAG_(?:KB|STATE_DIR)=(\S+)", DOCKERFILE)
    assert len(kept) == 2
    assert all(path.startswith(f"{volume}/") for path in kept)
