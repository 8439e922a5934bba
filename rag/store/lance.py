"""What the store uses of LanceDB, imported without the parts of it that no knowledge base needs.

Most of the second that `import lancedb` takes goes into a client for remote namespaces, hundreds of pydantic models,
and into embedding functions. Both are imported when they are first used, which searching never does.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Later(type):
    """The type of stand-ins: classes that are imported when they are called, asked for a member, or compared with."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real(cls)(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real(cls))


def _real(standin: type) -> Any:
    return getattr(importlib.import_module(standin.__module__), standin.__name__)


class _StandIns(ModuleType):
    """A module out of which anything can be imported: a stand-in for the class of that name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(name, (), {"__module__": self.__name__})


class _Finder:
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def stands_in(self, name: str) -> bool:
        return any(name == package or name.startswith(f"{package}.") for package in self._packages)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if self.stands_in(name) else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIns(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def _put_off(*packages: str) -> Iterator[None]:
    """What is imported within gets stand-ins for the classes of these packages; afterwards nobody does."""
    finder = _Finder([package for package in packages if package not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if finder.stands_in(name)]:
            del sys.modules[name]
            parent, _, own = name.rpartition(".")
            if parent in sys.modules:
                delattr(sys.modules[parent], own)


with _put_off("lance_namespace_urllib3_client", "lancedb.embeddings"):
    importlib.import_module("lancedb.remote.table")  # the first search would import it, without stand-ins
    from lancedb import connect
    from lancedb.expr import Expr, col, lit
    from lancedb.index import FTS, BTree, IvfRq
    from lancedb.query import MatchQuery

__all__ = ["FTS", "BTree", "Expr", "IvfRq", "MatchQuery", "col", "connect", "lit"]
