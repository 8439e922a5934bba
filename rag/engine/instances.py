"""All loaded models of one engine: load, just-in-time load, use, evict, expire, unload.

The state model is LM Studio's. A model that was loaded on purpose stays until it is unloaded. A model that a request
loaded just in time has a TTL, and leaves when the next one is loaded that way, whatever its kind.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx2

from rag.engine.faults import InstanceCrashed, InstanceUnloaded, LoadFailed, NothingLoaded, UnknownModel
from rag.engine.guardrail import STOPPED, available_bytes, too_large
from rag.engine.instance import Instance, LoadOptions, Origin, kv_bytes, worker_spec
from rag.engine.library import Kind, Library, Model
from rag.engine.process import WorkerFailed, WorkerProcess, start_worker
from rag.engine.worker import WorkerSpec

log = logging.getLogger("rag.engine")

DEFAULT_TTL_SECONDS = 3600.0
GONE_SECONDS = 5.0

Starter = Callable[[WorkerSpec], Awaitable[WorkerProcess]]
BeforeUse = Callable[["Instances", Instance], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Policy:
    """LM Studio's three server settings, and what workers are told."""

    jit: bool = True
    auto_evict: bool = True
    jit_ttl_seconds: float = DEFAULT_TTL_SECONDS
    threads: int = 0
    """Per worker; 0 is one per physical core."""
    verbose: bool = False
    guardrail: bool = True
    """Refuse a load that plainly needs more memory than there is."""


class Instances:
    """The instances and their rules. Belongs to one event loop; needs no locks for what happens between two awaits."""

    def __init__(
        self,
        library: Library,
        policy: Policy,
        start: Starter = start_worker,
        before_use: BeforeUse | None = None,
    ) -> None:
        self.library = library
        self.policy = policy
        self._start = start
        self._before_use = before_use
        self._all: dict[str, Instance] = {}
        self._jit_turn = asyncio.Lock()

    def loaded(self, model_key: str | None = None) -> list[Instance]:
        """Return the instances that can answer, oldest first, of one model or of all."""
        return [
            instance
            for instance in self._all.values()
            if instance.worker is not None and model_key in (None, instance.model.key)
        ]

    def busy(self) -> bool:
        """Whether a model is being loaded or used."""
        return any(instance.running or instance.worker is None for instance in self._all.values())

    def awaited(self, name: str) -> tuple[str, Model, bool]:
        """Return which instance a request for `name` is for, its model, and whether it has yet to be loaded.

        Raises UnknownModel.
        """
        instance = self._all.get(name)
        model = instance.model if instance else self.library.find(name)
        if model is None:
            raise UnknownModel(name)
        if resident := instance or self._resident(model.key):
            return resident.id, model, resident.worker is None
        return model.key, model, True

    async def for_request(
        self, name: str, kind: Kind, ttl: object = None, *, options: LoadOptions | None = None, exact: bool = False
    ) -> Instance:
        """Return the instance that answers a request for `name`, loading the model where the policy allows it.

        `ttl` and `options` count only where this request loads the model; a `ttl` that is not a positive integer is
        ignored. A name that nothing goes by is answered by the only loaded model of the kind, or, where the name has to
        be `exact`, refused.
        """
        by_id = self._all.get(name)
        model = by_id.model if by_id else self.library.find(name)
        if model is None:
            if exact:
                raise UnknownModel(name)
            return self._fallback(name, kind)
        if model.kind != kind:
            raise LoadFailed(name, f"Model is not {kind}.")
        if resident := by_id or self._resident(model.key):
            resident.last_used = time.monotonic()  # a TTL must not run out between this and the use
            return await _once_loaded(resident)
        if not self.policy.jit:
            raise NothingLoaded
        seconds = ttl if isinstance(ttl, int) and not isinstance(ttl, bool) and ttl > 0 else self.policy.jit_ttl_seconds
        return await self._load_just_in_time(model, float(seconds), options or LoadOptions())

    def _resident(self, key: str) -> Instance | None:
        return next((instance for instance in self._all.values() if instance.model.key == key), None)

    def _fallback(self, name: str, kind: Kind) -> Instance:
        candidates = [instance for instance in self.loaded() if instance.model.kind == kind]
        if len(candidates) == 1:
            return candidates[0]
        if not candidates and not (self.policy.jit and any(row.kind == kind for row in self.library.models())):
            raise NothingLoaded
        raise UnknownModel(name)

    async def _load_just_in_time(self, model: Model, ttl: float, options: LoadOptions) -> Instance:
        async with self._jit_turn:
            if resident := self._resident(model.key):
                return await _once_loaded(resident)
            if self.policy.auto_evict:
                for instance in [one for one in self._all.values() if one.origin == "jit"]:
                    log.info("evict %s: %s is wanted", instance.id, model.key)
                    await self._unload(instance)
            return await self._load(model, options, "jit", ttl)

    async def load(self, name: str, options: LoadOptions) -> Instance:
        """Load a model on purpose; one that is loaded gets a second instance. Raises UnknownModel, LoadFailed."""
        model = self.library.find(name)
        if model is None:
            raise UnknownModel(name)
        return await self._load(model, options, "explicit", None)

    async def _load(self, model: Model, options: LoadOptions, origin: Origin, ttl: float | None) -> Instance:
        number = 1
        while (name := model.key if number == 1 else f"{model.key}:{number}") in self._all:
            number += 1
        spec = worker_spec(model, options, self.policy.threads, self.policy.verbose)
        if self.policy.guardrail and too_large(model.size_bytes, kv_bytes(model, spec), available_bytes()):
            log.error("load of %s refused: %d bytes and its context do not fit", name, model.size_bytes)
            raise LoadFailed(model.key, STOPPED)
        instance = Instance(name, model, spec, origin, ttl, asyncio.Semaphore(spec.parallel))
        self._all[name] = instance
        # A task of its own: a client that hangs up must not break off a load that others wait for.
        instance.life = asyncio.create_task(self._live(instance))
        return await _once_loaded(instance)

    async def _live(self, instance: Instance) -> None:
        started = time.monotonic()
        try:
            worker = await self._start(instance.spec)
        except WorkerFailed as exc:
            log.error("load of %s failed: %s", instance.id, exc)
            instance.failure = LoadFailed(instance.model.key, str(exc))
            self._forget(instance)
            return
        finally:
            instance.load_seconds = time.monotonic() - started
            instance.last_used = time.monotonic()
            instance.loaded.set()
        instance.worker = worker
        log.info(
            "loaded %s (%s) in %.1f s: pid %d, context %d, ttl %s",
            instance.id,
            instance.origin,
            instance.load_seconds,
            worker.pid,
            instance.spec.context_length,
            instance.ttl_seconds,
        )
        code = await worker.process.wait()
        if instance.failure is None:
            log.error("worker of %s ended by itself, exit code %d", instance.id, code)
            instance.failure = InstanceCrashed(code)
            self._forget(instance)
            await worker.client.aclose()
        instance.gone.set()

    def _forget(self, instance: Instance) -> None:
        if self._all.get(instance.id) is instance:
            del self._all[instance.id]

    async def unload(self, instance_id: str) -> None:
        """End an instance; what it was doing fails with InstanceUnloaded. Raises UnknownModel."""
        instance = self._all.get(instance_id)
        if instance is None:
            raise UnknownModel(instance_id)
        await self._unload(instance)

    async def _unload(self, instance: Instance) -> None:
        if self._all.get(instance.id) is not instance:
            return  # it has crashed, or somebody else has been faster
        self._forget(instance)
        instance.failure = InstanceUnloaded()
        if instance.worker is not None:
            await instance.worker.stop()
        elif instance.life is not None:
            instance.life.cancel()
            await asyncio.wait({instance.life})
        log.info("unloaded %s", instance.id)

    @asynccontextmanager
    async def use(self, instance: Instance) -> AsyncIterator[httpx2.AsyncClient]:
        """Wait for a turn and give the connection to the worker.

        Where the connection breaks because the instance was unloaded or crashed, raises that fault in its place.
        """
        instance.running += 1
        try:
            if self._before_use is not None:
                await self._before_use(self, instance)
            async with instance.turns:
                if instance.failure is not None:
                    raise instance.failure
                assert instance.worker is not None
                yield instance.worker.client
        except (httpx2.TransportError, RuntimeError):  # httpx2 raises RuntimeError on a client that unload has closed
            with suppress(TimeoutError):
                await asyncio.wait_for(instance.gone.wait(), GONE_SECONDS)
            if instance.failure is None:
                raise
            raise instance.failure from None
        finally:
            instance.running -= 1
            instance.last_used = time.monotonic()

    async def sweep(self) -> None:
        """Unload what has been idle for longer than its TTL."""
        now = time.monotonic()
        for instance in [one for one in self._all.values() if one.expired(now)]:
            log.info("%s has been idle for its ttl of %s s", instance.id, instance.ttl_seconds)
            await self._unload(instance)

    async def unload_all(self) -> None:
        """End every instance, at the same time."""
        await asyncio.gather(*(self._unload(instance) for instance in list(self._all.values())))


async def _once_loaded(instance: Instance) -> Instance:
    await instance.loaded.wait()
    if instance.failure is not None:
        raise instance.failure
    return instance
