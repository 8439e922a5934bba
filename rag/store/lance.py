"""What the store uses of LanceDB, imported without the parts of it that no knowledge base needs.

Most of what `import lancedb` takes goes into parts that a search never uses: a client for remote namespaces, which is
hundreds of pydantic models, embedding functions, functions that run on a server, Arrow's computing and data sets, and
on Python 3.11 the package `overrides`, which reads every method of four classes to check that it overrides another. The
others are imported when they are first used; what LanceDB's own tests check is not checked again.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NOT_USED = (
    *("lance_namespace_urllib3_client", "lancedb.embeddings", "lancedb.functions", "lancedb.scannable"),
    *("pyarrow.compute", "pyarrow.dataset", "pyarrow.fs"),
)
_CHECKS: dict[str, dict[str, Any]] = {"overrides": {"override": lambda method: method, "EnforceOverrides": object}}
_COMPILED = "lancedb._lancedb"  # cannot be imported twice


class _Later(type):
    """The type of stand-ins: classes that are imported when they are called, asked for a member, or compared with."""

    def __new__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> "_Later":
        if bases:
            raise ImportError(f"{name} is derived from {bases[0]!r}, which was put off")
        return super().__new__(cls, name, bases, members)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real(cls)(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real(cls))


def _real(standin: type) -> Any:
    found = getattr(importlib.import_module(standin.__module__), standin.__name__)
    if found is standin:
        raise ImportError(f"{standin.__module__}.{standin.__name__} is used at once, and was put off")
    return found


class _StandIns(ModuleType):
    """A module out of which anything can be imported: a stand-in for the class of that name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Later(name, (), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Deferred(ModuleType):
    """What a module of stand-ins becomes for those who have imported it as a whole: all that the real one has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


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
        vars(module).update(_CHECKS.get(module.__name__, {}))


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
            module = sys.modules.pop(name)
            for own in [own for own in vars(module) if not own.startswith("__")]:
                delattr(module, own)
            module.__class__ = _Deferred


def _import_lancedb(not_used: Sequence[str] = _NOT_USED) -> None:
    """Import the package without those parts; all of it where another version of it needs one of them at once."""
    if "lancedb" in sys.modules:
        return
    try:
        with _put_off(*not_used, *_CHECKS):
            importlib.import_module("lancedb.remote.table")  # a search would import it, and then with the checks
    except (ImportError, AttributeError, TypeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "lancedb" and name != _COMPILED]:
            del sys.modules[name]
        importlib.import_module("lancedb")


class _NoPandas:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


def _leave_out_pandas() -> None:
    """Keep Arrow from importing pandas where that is installed: it does so with its first array, for half a second.

    It does so still where a data frame is asked of it; where somebody has imported pandas, nothing is changed.
    """
    if "pandas" not in sys.modules:
        finder: Any = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module("pyarrow").array([0.0])
        finally:
            sys.meta_path.remove(finder)


_leave_out_pandas()
_import_lancedb()

from lancedb import Session, background_loop, connect, connect_async  # noqa: E402
from lancedb.expr import Expr, col, lit  # noqa: E402
from lancedb.index import FTS, BTree, IvfRq  # noqa: E402
from lancedb.query import MatchQuery  # noqa: E402

LOOP: Any = background_loop.LOOP  # runs what is asynchronous, in a thread of its own

__all__ = [
    "FTS",
    "LOOP",
    "BTree",
    "Expr",
    "IvfRq",
    "MatchQuery",
    "Session",
    "col",
    "connect",
    "connect_async",
    "lit",
]
