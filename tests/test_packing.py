"""How a context is shared: pure, and over a grid of contexts, passages and budgets against a server that refuses."""

import random
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmstudio_server import CHAT, FakeLMStudio, lm_studio

import rag.errors as errors
from rag.answer import answer_stream
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.token_scale import TokenScale, stated_tokens
from rag.packing import cost, packed, prompt, question_cost
from rag.tokens import counted, prompt_count
from rag.types import Answer, Hit

ROOT = Path(__file__).parents[1]
QUESTION = "What torque do the mast clamp bolts need?"


def passage(text: str, source: str = "docs/manual.pdf", start: int = 100) -> Hit:
    return Hit(source, "id", "Manual", 3, ("Power",), start, start + len(text), text, 1.0)


SHORT, LONG = passage("The battery lasts 24 months."), passage("One sentence. " * 300)


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="abc .1\n文🙂", min_size=1, max_size=400), min_size=1, max_size=6), st.integers(0, 900)
)
def test_packing_never_exceeds_the_room_and_only_shortens(texts: list[str], room: int) -> None:
    hits = [passage(text, start=n * 1000) for n, text in enumerate(texts)]
    passages = packed("What?", hits, room)
    assert 1 <= len(passages) <= len(hits)
    by_start = {hit.start: hit for hit in hits}
    for cut in passages:
        assert by_start[cut.start].text.startswith(cut.text)
        assert cut.text
        assert cut.end - cut.start == len(cut.text)
    if room >= question_cost("What?") + 64:
        assert prompt_count(prompt("What?", passages)) <= cost("What?", passages) <= room


def test_packing_takes_all_where_there_is_room() -> None:
    assert packed("What?", [SHORT, LONG], 4000) == [SHORT, LONG]


def test_the_first_passage_that_does_not_fit_is_cut_behind_a_sentence_and_smaller_ones_still_fit() -> None:
    unbroken = passage("word " * 300, "docs/unbroken.md")
    passages = packed("What?", [SHORT, unbroken, SHORT], 220)
    assert passages == [SHORT, SHORT]
    first, cut, *_ = packed("What?", [SHORT, LONG, SHORT], 300)
    assert first == SHORT
    assert cut.text.endswith("One sentence.")
    assert len(cut.text) > 100


def test_a_best_passage_without_sentences_is_cut_behind_a_word() -> None:
    (cut,) = packed("What?", [passage("wording " * 3000)], 300)
    assert cut.text.endswith("wording")
    assert 150 < cost("What?", [cut]) <= 300


def test_the_best_passage_stands_first_and_the_second_last() -> None:
    hits = [passage(text) for text in ("Alpha.", "Beta.", "Gamma.", "Delta.")]
    assert re.findall(r"\[(\d)\].*\n> (\w+)", prompt("What?", hits)) == [
        ("1", "Alpha"),
        ("3", "Gamma"),
        ("4", "Delta"),
        ("2", "Beta"),
    ]
    assert re.findall(r"\[(\d)\]", prompt("What?", hits[:2])) == ["1", "2"]


PROSE, TABLE = "The battery lasts long. " * 200, "4711 | 0815\n" * 100  # of 1,000 and of 1,200 tokens by our count


def test_a_price_is_learnt_and_its_margin_shrinks() -> None:
    scale = TokenScale()
    guessed = scale.price(PROSE)
    scale.saw(PROSE, 900)
    once = scale.price(PROSE)
    for _ in range(7):
        scale.saw(PROSE, 900)
    assert guessed > once > scale.price(PROSE) > 900
    scale.saw(PROSE, 1500)
    assert scale.price(PROSE) > 1500, "the costliest of the last prompts counts"
    scale.saw("Why?", 40)
    scale.saw(PROSE, 20)
    assert scale.price(PROSE) < 1600, "too short, or impossible"


def test_words_and_digits_have_prices_of_their_own() -> None:
    """As of a model that cuts words small and takes three digits as one, whatever the prompts were made of."""
    scale = TokenScale()
    words, digits = counted(PROSE + TABLE)
    for prose, table in ((3, 1), (1, 1), (0, 2)):
        text = prose * PROSE + table * TABLE
        scale.saw(text, round(1.4 * counted(text)[0] + 0.4 * counted(text)[1]))
    assert 1.4 * words + 0.4 * digits < scale.price(PROSE + TABLE) < 1.1 * (1.4 * words + 0.4 * digits)
    assert scale.price(TABLE) < 0.8 * prompt_count(TABLE) * 1.4
    assert scale.most(scale.cost(1000)) == 1000
    dear = TokenScale()
    for text, tokens in ((PROSE, 1000), (PROSE + TABLE, 1020), (TABLE, 600)):
        dear.saw(text, tokens)
    assert dear.price.digit >= 0 <= dear.price.word, "no text makes a prompt shorter"


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ("request (2100 tokens) exceeds the available context size (2048 tokens), try increasing it", 2100),
        ("The number of tokens to keep from the initial prompt is greater than the context length.", None),
    ],
)
def test_a_refusal_may_say_how_long_the_prompt_was(message: str, tokens: int | None) -> None:
    assert stated_tokens(message, 2048) == tokens


# -- the grid --------------------------------------------------------------------------------------------------------


def four_letters(text: str) -> int:
    """A tokenizer of a small vocabulary, which takes every digit alone: up to twice our count."""
    return len(re.findall(r"\d|[^\W\d]{1,4}|[^\w\s]|\s{2,}", text))


def texts() -> list[Hit]:
    """Prose, tables, code and numbers in passages of 300 to 1,500 letters."""
    chance = random.Random(7)
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "rag").glob("*.py"))]
    rows = "\n".join(" | ".join(f"{chance.random() * 1000:.3f}" for _ in range(6)) for _ in range(300))
    whole = rows + "\n" + "\n".join(path.read_text(encoding="utf-8") for path in files)
    hits, at = [], 0
    while at < len(whole):
        end = at + chance.randint(300, 1500)
        hits.append(passage(whole[at:end], f"docs/file-{len(hits)}.md", at))
        at = end
    chance.shuffle(hits)
    return hits


HITS = texts()


@pytest.fixture(scope="module")
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        running.says = "I don't know."
        yield running


def share_used(server: FakeLMStudio, context: int, hits: list[Hit], budget: int) -> list[float]:
    """What each of two questions to a model that was never asked before uses of the room for its prompt."""
    server.rows[CHAT].instances = {CHAT: context}
    used = []
    with closing(ChatModel(replace(server.settings, chat_context=context))) as model:
        for _ in range(2):
            *_, answer = answer_stream(QUESTION, hits, model, answer_tokens=budget)
            assert isinstance(answer, Answer)
            used.append(server.prompts[-1] / (context - min(budget, context // 2)))
    return used


@pytest.mark.parametrize("context", [2048, 4096, 8192, 32768])
def test_no_context_is_exceeded_and_none_is_wasted(server: FakeLMStudio, context: int) -> None:
    for tokens in (four_letters, prompt_count):
        server.tokens = tokens
        for limit, budget in ((3, 512), (120, 64), (120, 2048)):
            server.seen.clear()
            server.prompts.clear()
            hits = HITS[:limit]
            enough = tokens(prompt(QUESTION, hits)) + 30 > context - min(budget, context // 2)
            cold = TokenScale()
            doubtful = cost(QUESTION, hits, price=cold.price) + cold.frame > context - min(budget, context // 2)
            used = share_used(server, context, hits, budget)
            assert max(used) <= 1.03
            assert min(used) >= 0.85 or not enough
            assert doubtful or not enough, "what may be too much is counted by the server first"
            assert len(server.bodies("/v1/chat/completions")) == len(server.prompts) == 2 + doubtful, "none was refused"


def test_a_tokenizer_unlike_ours_is_learnt_from_refusals(server: FakeLMStudio) -> None:
    server.tokens = lambda text: 2 * len(text.split()) + len(text) // 2
    server.seen.clear()
    assert 0.7 < share_used(server, 2048, HITS, 512)[-1] <= 1
    assert len(server.bodies("/v1/chat/completions")) <= 5


def test_a_question_that_leaves_no_room_is_told(server: FakeLMStudio) -> None:
    server.rows[CHAT].instances = {CHAT: 2048}
    with (
        closing(ChatModel(replace(server.settings, chat_context=2048))) as model,
        pytest.raises(errors.UsageProblem, match="RAG_CHAT_CONTEXT"),
    ):
        list(answer_stream("Why? " * 2000, HITS[:2], model, answer_tokens=64))
