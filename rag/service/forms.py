"""The bodies of /api/kb: what is sent, and what comes back."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rag.search.options import Expand, Mode, Rerank, SearchKeywords
from rag.search.where import all_of
from rag.types import CitationStatus, Cut

MOST_PASSAGES = 100

QuestionText = Annotated[str, Field(max_length=8000, pattern=r"\S", description="The question, in plain words.")]
Source = Annotated[str, Field(min_length=1, max_length=4096, description="A document, as the list names it.")]
Limit = Annotated[int, Field(ge=1, le=MOST_PASSAGES, description="How many passages at most.")]
Where = Annotated[
    list[str],
    Field(
        max_length=20,
        description="Only documents that fulfil all of these: `format = pdf and indexed > 2026-01-01`.",
        examples=[["format = pdf"]],
    ),
]
Paths = Annotated[
    list[str],
    Field(
        max_length=20,
        description="Only documents on these paths: `manuals/**/*.pdf`; `!drafts/*` leaves some out.",
        examples=[["manuals/**/*.pdf"]],
    ),
]
BoxForm = tuple[float, float, float, float]


class Sent(BaseModel):
    """A body that a client sends; a field that is none of its fields is a mistake."""

    model_config = ConfigDict(extra="forbid")


class SearchRequest(Sent):
    """A search. What is left out is as in the settings of the service."""

    question: QuestionText
    limit: Limit | None = None
    mode: Mode = Mode.HYBRID
    where: Where = []
    paths: Paths = []
    diversity: Annotated[float, Field(ge=0, le=1, description="How much passages should differ.")] | None = None
    rerank: Rerank | None = None
    expand: Expand | None = None

    def keywords(self) -> SearchKeywords:
        """The fields as the library takes them. Raises UsageProblem for a filter that is none."""
        return SearchKeywords(
            limit=self.limit,
            mode=self.mode,
            where=all_of(self.where),
            paths=self.paths,
            diversity=self.diversity,
            rerank=self.rerank,
            expand=self.expand,
        )


class AskRequest(SearchRequest):
    """A question to be answered. With `stream` the answer comes as server-sent events."""

    strict: bool = Field(False, description="Leave out what no passage supports.")
    stream: bool = False


class AgentRequest(AskRequest):
    """A question to be answered outside a conversation."""

    agent: bool = Field(False, description="Let the model search several times, for a question with several hops.")


class PlaceForm(BaseModel):
    """Where the same words stand again."""

    source: str
    page: int | None
    start: int
    end: int


class HitForm(BaseModel):
    """A passage. Offsets count Unicode code points of the document's text; the box is in points from the top left."""

    source: str
    page: int | None
    headings: list[str]
    start: int
    end: int
    text: str
    score: float
    similarity: float | None
    also: list[PlaceForm]
    box: BoxForm | None
    metadata: dict[str, str]


class HitsForm(BaseModel):
    """What a search found, best first."""

    hits: list[HitForm]


class CitationForm(BaseModel):
    """The evidence for one or more sentences: `quote` is the document's text from `start` to `end`."""

    n: int = Field(description="The number in the answer's `[n]` markers.")
    source: str
    page: int | None
    headings: list[str]
    start: int
    end: int
    quote: str
    status: CitationStatus
    stale: bool | None = Field(description="Whether its file changed or vanished since; null where nobody can know.")
    beside: bool = Field(description="Whether another sentence of the passages says clearly more of the question.")
    also: list[PlaceForm]
    box: BoxForm | None


class StepForm(BaseModel):
    """A search by the model itself, or a reading in one document."""

    action: str = Field(description="`search` or `read`.")
    words: str
    within: str
    found: int = Field(description="Passages that were new to it.")
    failed: str = Field(description="Why nothing came of it, empty where something did.")


class AnswerForm(BaseModel):
    """An answer whose citations have been checked, or an abstention."""

    question: str
    searched: str = Field(description="What was searched for: the question as it stands without the conversation.")
    answer: str
    abstained: bool
    reason: str = Field(description="Why it abstained.")
    cut: Cut | None
    left_out: int = Field(description="Sentences that a strict answer lacks.")
    citations: list[CitationForm]
    hits: list[HitForm]
    score: float | None = Field(description="How likely the documents answer the question, 0 to 1.")
    signals: dict[str, Any] = Field(description="What the score is made of.")
    model: str
    usage: dict[str, int]
    timings: dict[str, float] = Field(description="Seconds.")
    steps: list[StepForm] = Field(description="The searches of a model that searched by itself.")


class ConversationRow(BaseModel):
    """A conversation that is kept; `at` is its last turn's time, in seconds since 1970."""

    name: str
    turns: int
    at: float


class ConversationsForm(BaseModel):
    """The conversations with this knowledge base, the last used first."""

    conversations: list[ConversationRow]


class TurnForm(BaseModel):
    """A question and its answer; of its hits those are kept that its sources are shown with."""

    id: str
    at: float
    answer: AnswerForm


class ConversationForm(BaseModel):
    """A conversation, oldest turn first."""

    name: str
    turns: list[TurnForm]


class DeletedForm(BaseModel):
    """The conversation that is no more."""

    deleted: str


class IndexForm(BaseModel):
    """How far an index goes: `kind` is empty where there is none yet, and all chunks are compared one by one."""

    kind: str
    indexed: int
    unindexed: int


class StatusForm(BaseModel):
    """What the knowledge base holds. `exists` is false, and all else empty, before the first document."""

    exists: bool
    documents: int = 0
    failed: int = 0
    chunks: int = 0
    bytes: int = 0
    embedding_model: str | None = None
    dimension: int | None = None
    quantization: str | None = None
    chunk_tokens: int | None = None
    words_index: IndexForm | None = None
    vector_index: IndexForm | None = None
    roots: list[str] = Field(
        default_factory=list, description="Names of the folders that were ingested, the first parts of sources."
    )
    ingesting: bool = Field(False, description="Whether an upload is being read now.")


class DocumentForm(BaseModel):
    """A document. `status` is `ok`, or `failed` with the reason in `error`; times are seconds since 1970."""

    source: str
    title: str
    parser: str
    status: str
    error: str
    chunks: int
    size: int
    modified: int
    indexed_at: int
    language: str
    metadata: dict[str, str]
    uploaded: bool = Field(description="Whether it came by an upload: then its file goes with it.")


class DocumentsForm(BaseModel):
    """Documents by source, from `offset` on; `total` is how many the filters select."""

    total: int
    documents: list[DocumentForm]


class TextForm(BaseModel):
    """A place in a document's text, cut in three: show `before`, `quote`, `after`, with `quote` marked."""

    source: str
    title: str
    length: int = Field(description="Of the whole text, in code points, as all offsets.")
    start: int
    end: int
    before: str
    quote: str
    after: str
    more_before: bool
    more_after: bool


class RemovedForm(BaseModel):
    """How many documents are in the knowledge base no more."""

    removed: int


class QuestionForm(BaseModel):
    """A question with a known answer, as a line of `rag eval make`; without a quote it is left out."""

    question: QuestionText
    answer: str | None = None
    source: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None


class EvaluateRequest(Sent):
    """Questions to measure retrieval with, and the ways of searching to compare."""

    questions: list[QuestionForm] = Field(min_length=1, max_length=1000)
    ablation: bool = Field(False, description="Compare with the other fast ways of searching.")


class ScoresForm(BaseModel):
    """One way of searching on all questions: means from 0 to 1, with the 95 % intervals of these means."""

    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    seconds: float


class EvaluationForm(BaseModel):
    """Scores by the way of searching; `unanswerable` questions had no quote and were left out."""

    questions: int
    unanswerable: int
    ways: dict[str, ScoresForm]
