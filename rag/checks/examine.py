"""All checks, in the order in which they are mended: the settings, the machine, the server, the knowledge base."""

from collections.abc import Iterator

import rag.errors as errors
from rag.checks.check import Check, fail, ok
from rag.checks.engine import engine_checks
from rag.checks.knowledge import knowledge_checks
from rag.checks.machine import machine_checks, service_check
from rag.checks.server import look, model_checks
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.http import Connection
from rag.settings import config_path, traced_settings


def examine(kb: str | None, service_port: int) -> Iterator[Check]:
    """Run all checks, one after another, on this knowledge base or the one that is set. Starts and changes nothing.

    `service_port` is where `rag serve` would listen.
    """
    try:
        settings, origins = traced_settings(kb=kb)
        connection = Connection(settings)
    except errors.SettingsError as exc:
        yield fail("settings", str(exc), f"Correct it in the environment or in {config_path()}.")
        return
    yield ok("settings", f"{len(origins)} set, the rest by default; `rag config show` lists them")
    yield from machine_checks(settings)
    yield from engine_checks(settings)
    with connection:
        seen = look(connection)
        yield seen.check
        if seen.models is not None:
            yield from model_checks(connection, seen.kind, seen.models)
    yield service_check(settings, service_port)
    with KnowledgeBase(settings=settings) as base:
        yield from knowledge_checks(base, seen.models or ())
