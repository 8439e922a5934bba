"""What can go wrong with a model, before it has the form of an HTTP answer."""


class Fault(Exception):
    """A request cannot be served; the route's family decides how the answer looks."""


class UnknownModel(Fault):
    """No model or instance goes by that name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'Invalid model identifier "{name}". Please specify a valid downloaded model (e.g., google/gemma-3-1b).'
        )


class NothingLoaded(Fault):
    """There is no model that could answer."""

    def __init__(self) -> None:
        super().__init__("No models loaded. Please load a model in the developer page or use the 'lms load' command.")


class LoadFailed(Fault):
    """The model's worker did not come up, or the model is of another kind than asked."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f'Failed to load model "{key}". Error: {reason}')


class InstanceUnloaded(Fault):
    """The instance was unloaded while the request waited or ran."""

    def __init__(self) -> None:
        super().__init__("Model was unloaded while the request was still in queue..")


class InstanceCrashed(Fault):
    """The instance's worker process ended by itself."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"The model has crashed without additional information. (Exit code: {exit_code}).")


class WorkerRefused(Fault):
    """llama.cpp answered the request with an error."""

    def __init__(self, status: int, message: str, kind: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind

    @property
    def overflow(self) -> bool:
        """Whether the prompt is longer than the context."""
        return self.kind == "exceed_context_size_error"
