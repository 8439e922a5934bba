"""A document's words as they go into a prompt: a quotation that no line of it leaves and that gives no orders. Pure.

Only prompts are changed so. What is stored, shown and cited are the document's own words.
"""

import re
from functools import lru_cache

from rag.orders import without_orders

# Chat templates are texts, and llama.cpp reads the tokens that part the turns in what a user sends as well, so that a
# document with `<|im_end|>` in it would end the user's turn. They are told by their shapes, for the model is not known.
_NAMES = (
    r"s|bos|eos|unk|pad|mask|sop|eop|eot|eom|sys|think|thinking|tools?_\w+|tools|function_\w+|(?:start|begin|end)_of_\w+|"
    r"unused_?\d+|extra_id_\d+|reserved_\w+|fim_\w+|\w+_token|__\w+__|seed:\w+"
)
_IN_BRACKETS = (
    r"INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w+|THINK|IMG\w*|PREFIX|MIDDLE|SUFFIX|ARGS|CALL_ID|MODEL_SETTINGS|"
    r"[gs]?MASK|BOS|EOS|CLS|SEP|PAD|UNK"
)
_CONTROL = re.compile(
    r"<(?=[|｜][^<>\n]{0,80}>"  # <|im_start|>, <｜User｜>, <|turn>
    r"|[^<>\s|｜]{1,80}[|｜]>"  # <turn|>
    rf"|/?(?:{_NAMES})>)"  # </s>, <start_of_turn>
    rf"|\[(?=/?(?:{_IN_BRACKETS})\]"  # [/INST]
    r"|\|[^\[\]\n]{1,80}\|\]|e~\[)"  # [|user|]
    r"|\](?=~!?b[\[\]])",  # ]~b]
    re.IGNORECASE,
)

# What no reader of the document sees, and a model reads: controls, signs without width, of direction, tags.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Persian and Indic words and emoji need joiners and selectors, one or two behind a letter of theirs.
    "|(?<=[\x00-\x7f])[\u200c\u200d\ufe00-\ufe0f]+|(?<=[\u200c\u200d\ufe00-\ufe0f]{2})[\u200c\u200d\ufe00-\ufe0f]+"
)


def defused(text: str) -> str:
    """The text without what a reader does not see, and with a blank in what a chat template could take for its own."""
    return _CONTROL.sub(r"\g<0> ", _UNSEEN.sub("", _CONTROLS.sub(" ", text)))


@lru_cache(maxsize=512)  # a passage is measured before it is sent, and again where it does not fit
def quoted(text: str) -> str:
    """A passage as it stands in a prompt: without orders to who answers, and each of its lines behind a `>`.

    So it has no line that looks like another passage's head, like the question or like the prompt's own words.
    """
    return "\n".join(f"> {line}".rstrip() for line in without_orders(defused(text)).splitlines())


@lru_cache(maxsize=256)
def quoted_name(text: str, longest: int = 200) -> str:
    """A document's name, a heading or a passage on one line, without orders."""
    return quoted_line(without_orders(defused(text)), longest)


def quoted_line(text: str, longest: int = 200) -> str:
    """What a user or a model said on one line, no longer than `longest` characters: with its orders."""
    line = " ".join(defused(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
