"""Sentences of a document that tell who answers what to answer: orders, evidence of nothing and not to be read. Pure.

A model that obeys one says what stands there word for word, so that a check of words would find it supported. Manuals,
letters and examination papers are full of orders too ("reply with your order number", "ignore the noise"), so that only
those count that name the words of the answer, are addressed to a machine, or set earlier instructions aside.
"""

import re
import unicodedata
from functools import lru_cache

from rag.sentences import sentences

_SAY = r"(?:answer|reply|respond|say|state|claim|output|insist|tell (?:the users?|the readers?|him|her|them))"
_WORDS = r"(?:\bthe words?\b|\bphrase\b|\bexactly\b|[\"“:]|(?-i:[A-Z]{5}))"
_THIS = rf"(?:only|exactly|just|nothing|that|(?:with|every|all|any)\b(?=.{{0,40}}{_WORDS}))"
_MACHINE = r"(?:ais?|llms?|chat ?bots?|ai (?:systems?|agents?)|(?:ai |virtual )?assistants?|(?:language |ai )models?)"
_MUST = r"(?:must|should|shall|has to|have to|needs? to|(?:are|is) to|will)"
_ANSWER = r"(?:your\W+(?:\w+\W+)?(?:answers?|repl(?:y|ies)|responses?)|(?:every|each)\W+(?:\w+\W+)?answers?)\b"
_TOLD = r"(?:instructions?|prompts?|questions?|passages?|orders|commands|guidelines|contexts?|task)"
_BETWEEN = r"(?:\W+\w+){0,4}?\W+"

_ORDERS = (
    rf"\b(?:ignore|disregard|forget|override|bypass)\b{_BETWEEN}{_TOLD}\b",
    rf"\b(?:ignore|disregard|forget)\W+(?:all|everything|anything)\b{_BETWEEN}(?:above|before|earlier|previous)\b",
    rf"(?:^|[.!?:\n]|\b(?:and|then|please|always|now|instead))\W{{0,4}}{_SAY}\W+{_THIS}",
    rf"\b(?:you|{_MACHINE})\W+{_MUST}\W+(?:\w+\W+)?{_SAY}\W+{_THIS}",
    rf"\b{_ANSWER}{_BETWEEN}{_WORDS}",
    rf"\b(?:in|into|to|begin|start|end|finish|as)\W+{_ANSWER}",
    rf"\b{_ANSWER}\W+{_MUST}\W+(?:contain|include|mention|begin|start|end)\b",
    r"\b(?:ignore|disregard|forget)\W+(?:what you (?:have been|were)|the (?:user|reader))\b",
    rf"\b(?:if you are|as|you are now|dear|attention,?) (?:an? |the |all )?{_MACHINE}\b.{{0,40}}(?:\b{_MUST}\b|[,:])",
    r"\b(?:new|updated|system) (?:instructions?|override|prompt)\W*:",
    r"\b(?:when|whenever|before|whatever|if)\W+you\W+answer\b(?!\W+(?:the|a|my|our)\b)",
    rf"\b(?:note|message|instructions?|orders?)\W+(?:to|for)\W+(?:(?:the|any|all|an)\W+)?{_MACHINE}\b",
    rf"\b{_MACHINE}\W+(?:that |who |which )?(?:read|reads|reading|process|processes|processing)\W+(?:this|these)\b",
    # The same in the languages in which such orders go round most.
    rf"\bignorier\w*{_BETWEEN}(?:anweisung|vorgabe|frage)\w*|\bantworte(?:n sie)?\W+(?:nur|ausschließlich|dass)\b",
    rf"\b(?:ignore[rz]?|oublie[rz]?){_BETWEEN}(?:instructions?|consignes?)|\brépond(?:s|ez)\W+(?:uniquement|seulement|que)\b",
    rf"\b(?:ignora|olvida|ignore|esqueça)\w*{_BETWEEN}(?:instruc\w+|istruzioni)|\b(?:responda?|rispondi)\W+(?:solo|apenas|soltanto)\b",
    r"(?:忽略|无视|忘记).{0,12}(?:指示|指令|提示|问题)|(?:只|仅)(?:能|需)?(?:回答|回复)",
)
# A word of each order: a look for one of these takes a fifth of the time, and most sentences have none.
_OF_AN_ORDER = (
    r"\b(?:ignor|disregard|forget|overrid|bypass|answer|repl|respon|rispond|say|stat|claim|output|insist|tell|instruc|prompt"
    r"|ais?\b|llms?\b|chat|assistant|virtual|language|model|antwort|oublie|olvida|esqueça)|répond|忽略|无视|忘记|[只仅]"
)
OMITTED = "[…]"
_LONGEST = 500  # characters of a sentence of several lines
_ORDER = re.compile("|".join(_ORDERS), re.IGNORECASE)
_HINT = re.compile(_OF_AN_ORDER, re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_order(sentence: str) -> bool:
    """Whether a sentence says what is to be answered, or that instructions are to be set aside.

    A block of code or the like is none as a whole, whatever stands in one of its lines.
    """
    if _is_block(sentence):
        return False
    plain = unicodedata.normalize("NFKC", sentence)
    return bool(_HINT.search(plain) and _ORDER.search(plain))


def without_orders(text: str) -> str:
    """The text with `[…]` in the place of its orders, and of the lines of its blocks that are some."""
    for start, end in reversed(sentences(text)):
        part = text[start:end]
        if is_order(part):
            part = OMITTED
        elif _is_block(part):
            part = "\n".join(OMITTED if is_order(line) else line for line in part.split("\n"))
        text = f"{text[:start]}{part}{text[end:]}"
    return text


def _is_block(sentence: str) -> bool:
    return len(sentence) > _LONGEST and "\n" in sentence
