"""The bodies of /api/lmstudio: what is sent, and what comes back."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from rag.service.forms import Sent

ModelKey = Annotated[str, Field(min_length=1, max_length=300, description="A key of the model list: `qwen/qwen3-4b`.")]
ModelKind = Literal["llm", "embedding"]
Words = Annotated[str, Field(min_length=1, max_length=200_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
MostTokens = Annotated[int, Field(ge=1, le=32_768)]


class HealthForm(BaseModel):
    """Whether the model server answers. `auth` is `required` where it refuses us for want of a token."""

    status: Literal["ok"] = "ok"
    reachable: bool = True
    auth: Literal["ok", "required"]
    host: str
    models: int
    loaded: int


class ModelRow(BaseModel):
    """A model that the server has on disk."""

    key: str
    type: ModelKind
    display_name: str
    size_bytes: int | None
    max_context_length: int | None
    quantization: str | None
    vision: bool
    loaded: bool


class ModelRows(BaseModel):
    """All models of the server."""

    models: list[ModelRow]


class LoadedRow(BaseModel):
    """A loaded instance. `remaining_s` are the idle seconds until it is unloaded; null where we never unload it."""

    model_key: str
    instance_id: str
    type: ModelKind
    context_length: int | None
    ttl_s: int | None
    remaining_s: float | None
    expires_at: float | None = Field(description="Seconds since 1970, if it stays idle.")
    ours: bool = Field(description="Whether a process of ours loaded it.")


class LoadedRows(BaseModel):
    """The instances in memory."""

    models: list[LoadedRow]


class LoadRequest(Sent):
    """A model to load, unless it is loaded with enough context already."""

    model_key: ModelKey
    ttl: Annotated[int, Field(ge=-1, le=31_536_000)] | None = Field(
        None, description="Idle seconds until it is unloaded; -1: never. LM Studio refuses one; we keep it ourselves."
    )
    context_length: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


class LoadForm(BaseModel):
    """A model that is ready."""

    model_key: str
    instance_id: str
    type: ModelKind
    context_length: int | None


class UnloadForm(BaseModel):
    """The instances that were unloaded."""

    unloaded: list[str]


class GenerationRequest(Sent):
    """What all requests to a model have. Without `model` it is the one that is set, loaded, or on disk."""

    model: ModelKey | None = None
    temperature: Temperature | None = None
    max_tokens: MostTokens = 512


class CompletionRequest(GenerationRequest):
    """A text to be continued."""

    prompt: Words
    stream: bool = False


class LMMessage(BaseModel):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=200_000)]


class ChatRequest(GenerationRequest):
    """A conversation to be continued."""

    messages: list[LMMessage] = Field(min_length=1, max_length=500)
    stream: bool = False


class VisionRequest(GenerationRequest):
    """A question about an image, a file below one of the folders that the service was started with."""

    prompt: Words
    image_path: str = Field(min_length=1, max_length=4096)


class ToolForm(Sent):
    """A function: its parameters by name, each a JSON Schema, all of them required; or a whole JSON Schema."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")
    description: str = Field("", max_length=10_000)
    parameters: dict[str, Any] = Field(default_factory=dict)


class ToolsRequest(GenerationRequest):
    """A prompt, and functions that the model may ask for; they are not called here."""

    prompt: Words
    tools: list[ToolForm] = Field(min_length=1, max_length=64)


class TextReply(BaseModel):
    """What a model wrote."""

    text: str
    model: str
    finish_reason: str | None
    usage: dict[str, int]


class CallForm(BaseModel):
    """A call that the model wants made; `arguments` is null where what it wrote, `raw`, is no JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw: str


class ToolsReply(TextReply):
    """What a model wrote, and what it wants called."""

    tool_calls: list[CallForm]


class ReplyMessage(BaseModel):
    """What the model answered."""

    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | None = None


class ReplyChoice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: ReplyMessage
    finish_reason: str | None


class ChatReply(BaseModel):
    """An answer in OpenAI's form."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ReplyChoice]
    usage: dict[str, int]
