"""What TAB offers: from the knowledge base, the state folder and the model files of this machine.

Nothing is asked over the network and no engine is started. A shell puts an offer on the command line as it is, and
documents and their names are hostile: what a shell could take for more than a word is not offered.
"""

import re
from collections.abc import Callable, Iterable

import typer

from rag.errors import RagError
from rag.location import Location

_WORD = re.compile(r"[\w./@%+,=-]+")
_MOST = 500  # offers; a shell that gets thousands asks whether to show them


def one_of(*words: str) -> Callable[[str], list[str]]:
    """A completion of one of these words."""

    def offered(incomplete: str) -> list[str]:
        return _offered(lambda: words, incomplete)

    return offered


def sources(ctx: typer.Context, incomplete: str) -> list[str]:
    """Documents of the knowledge base, as `rag ls` names them."""

    def found() -> Iterable[str]:
        from rag.store.tables import Store

        return sorted(row.source for row in Store.open(_kb(ctx)).rows())

    return _offered(found, incomplete)


def versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tags of the knowledge base's versions, and their numbers."""

    def found() -> Iterable[str]:
        from rag.store.versions import versions as kept

        rows = kept(_kb(ctx))
        return [*(tag for row in rows for tag in row.tags), *(str(row.number) for row in rows)]

    return _offered(found, incomplete)


def tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tags alone."""
    return [offer for offer in versions(ctx, incomplete) if not offer.isdecimal()]


def session_names(incomplete: str) -> list[str]:
    """Saved conversations."""

    def found() -> Iterable[str]:
        from rag.sessions import sessions

        return [row.name for row in sessions()]

    return _offered(found, incomplete)


def models(incomplete: str) -> list[str]:
    """Models that lie in the engine's folder and in LM Studio's."""

    def found() -> Iterable[str]:
        from rag.engine.library import Library
        from rag.engine.places import lm_studio_models_folder, models_folder

        return [model.key for model in Library((models_folder(), lm_studio_models_folder())).models()]

    return _offered(found, incomplete)


def downloads(incomplete: str) -> list[str]:
    """Models that the engine can fetch by their keys."""

    def found() -> Iterable[str]:
        from rag.engine.catalogue import DEMO_MODELS

        return [model.key for model in DEMO_MODELS]

    return _offered(found, incomplete)


def _kb(ctx: typer.Context) -> Location:
    from rag.settings import load_settings

    return load_settings(kb=ctx.params.get("kb")).kb


def _offered(found: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """What begins so. A mistake in the settings or a missing knowledge base is for the command to tell, not for TAB."""
    try:
        names = list(found())
    except RagError:
        return []
    return [name for name in names if name.startswith(incomplete) and _WORD.fullmatch(name)][:_MOST]
