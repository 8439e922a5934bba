"""Every error a user can meet.

RagError                       exit code 1
├── UsageProblem               exit code 2: what was asked for cannot be
│   ├── SettingsError          a setting is unknown or has no meaning
│   ├── SourceNotFound         no such file or folder
│   ├── SessionProblem         a saved conversation cannot be gone on with
│   └── MissingExtra           an optional part is not installed
├── ServerError                exit code 3: the model server
│   ├── ServerUnreachable      nothing answers there
│   ├── Unauthorized           it wants a token, or another one
│   ├── NotSupported           this kind of server has no such endpoint
│   ├── ModelNotFound          it has no such model, or none of the kind
│   ├── ModelLoadFailed        it could not load the model
│   │   └── NotEnoughMemory    for want of memory
│   ├── ModelGone              the model was unloaded or crashed under us; loading again helps
│   ├── ContextOverflow        the input is longer than the loaded context
│   ├── OutOfTime              it did not answer in time
│   ├── WrongModel             another model answered than was asked
│   └── BadReply               the answer has not the form it must have
├── KnowledgeBaseError         exit code 4: the index
│   ├── KnowledgeBaseMissing   there is none at that place
│   ├── KnowledgeBaseBusy      another process writes to it
│   ├── IdentityMismatch       it was made with another model or settings
│   ├── DocumentNotFound       it has no such document
│   └── VersionNotFound        it has no such version, or none any more
├── ParseError                 one document; becomes its outcome and does not end a run
│   ├── UnsupportedFormat      no reader for this kind of file
│   ├── UnreadableDocument     damaged, encrypted, or not what its name says
│   ├── TooBig                 it exceeds a limit of size, number or depth
│   ├── NeedsOcr               it shows images of text, and nothing is installed that reads those
│   └── EmptyDocument          it holds no text
└── EngineError                exit code 5: the embedded engine
    ├── EngineStartFailed      it did not come up
    └── DownloadFailed         a model file could not be fetched, or is not the one expected

A message says what happened, to what, and what to do next.
"""


class RagError(Exception):
    """The root of all errors that this project raises on purpose."""

    exit_code = 1


class UsageProblem(RagError):
    """What was asked for cannot be."""

    exit_code = 2


class SettingsError(UsageProblem):
    """A setting is unknown or its value has no meaning."""


class SourceNotFound(UsageProblem):
    """A file or folder that was named does not exist or cannot be read."""


class SessionProblem(UsageProblem):
    """A saved conversation cannot be read or written, is not there, or belongs to another knowledge base."""


class MissingExtra(UsageProblem):
    """An optional part is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'lmstudio-rag[{extra}]'")
        self.extra = extra


class ServerError(RagError):
    """The model server could not do what it was asked to."""

    exit_code = 3


class ServerUnreachable(ServerError):
    """Nothing answers at the server's address."""


class Unauthorized(ServerError):
    """The server wants an API token, or refuses the one it was given."""


class NotSupported(ServerError):
    """This kind of server does not have the endpoint."""


class ModelNotFound(ServerError):
    """The server has no such model, or none of the kind that is needed."""


class ModelLoadFailed(ServerError):
    """The server tried to load the model and failed."""


class NotEnoughMemory(ModelLoadFailed):
    """The server refused to load the model for want of memory, or would have run out of it."""


class ModelGone(ServerError):
    """The model was unloaded, evicted or crashed while we used it; loading it again helps."""


class ContextOverflow(ServerError):
    """The input is longer than the context that the model was loaded with."""


class OutOfTime(ServerError):
    """The server did not answer within the time that was given."""


class WrongModel(ServerError):
    """Another model answered than the one that was asked."""


class BadReply(ServerError):
    """The server's answer does not have the form that it must have."""


class KnowledgeBaseError(RagError):
    """The knowledge base cannot be used as asked."""

    exit_code = 4


class KnowledgeBaseMissing(KnowledgeBaseError):
    """There is no knowledge base at that place."""


class KnowledgeBaseBusy(KnowledgeBaseError):
    """Another process is writing to the knowledge base."""


class IdentityMismatch(KnowledgeBaseError):
    """The knowledge base was made with another model or other settings."""


class DocumentNotFound(KnowledgeBaseError):
    """The knowledge base has no such document."""


class VersionNotFound(KnowledgeBaseError):
    """The knowledge base has no such version or tag."""


class ParseError(RagError):
    """One document could not be read; a run goes on without it."""


class UnsupportedFormat(ParseError):
    """There is no reader for this kind of file."""


class UnreadableDocument(ParseError):
    """The file is damaged, encrypted, or not what its name says."""


class NeedsOcr(ParseError):
    """The file shows images of text, and nothing is installed that reads those."""


class EmptyDocument(ParseError):
    """The file was read and holds no text."""


class TooBig(ParseError):
    """The file exceeds a limit of size, number or depth, so that reading it could take all memory or time."""


class EngineError(RagError):
    """The embedded engine could not do what it was asked to."""

    exit_code = 5


class EngineStartFailed(EngineError):
    """The engine's process did not come up."""


class DownloadFailed(EngineError):
    """A model file could not be fetched, or is not the one that was expected."""
