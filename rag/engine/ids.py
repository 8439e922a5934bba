"""Identifiers in the forms of the APIs that carry them."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits


def new_id(prefix: str, length: int) -> str:
    """Return a prefix with random letters and digits behind it: `chatcmpl-` has 21 in LM Studio, `msg_` 22."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def response_id() -> str:
    """Return a new id of a response: 48 hexadecimal digits."""
    return "resp_" + secrets.token_hex(24)


def tool_call_id() -> str:
    """Return a new tool call id: LM Studio's are decimal."""
    return str(secrets.randbelow(9 * 10**8) + 10**8)
