"""Mail: headers, body and the names of attachments."""

import codecs
import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage

from ingest.blocks import Blocks
from ingest.elements import fill_from_html
from ingest.text import decode
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document, Kind

_SHOWN_HEADERS = ("From", "To", "Cc", "Date", "Subject")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message: `headers` as pairs in a fixed order, the body as text or HTML (one of them may be empty)."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    attachments: tuple[str, ...]


def read_mail(data: bytes, source: str) -> Mail:
    """A message file, with its plain text where it has one and its HTML otherwise.

    Raises UnreadableDocument for a file without mail headers, EmptyDocument.
    """
    if not data.strip():
        raise EmptyDocument(f"{source} holds no text")
    if 0 in data[:4] or data[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        # UTF-16: not as mail travels, but as some programs save it.
        data = decode(data, source).encode()
    message = email.message_from_bytes(data, policy=email.policy.default)
    headers = tuple((name, value) for name in _SHOWN_HEADERS if (value := _header(message, name)))
    if not headers and not message.get("MIME-Version"):
        raise UnreadableDocument(f"{source} is not a mail message: it has no From, To, Date or Subject")
    text, html, attachments = "", "", []
    for part in _leaves(message):
        name = _file_name(part)
        kind = part.get_content_type()
        if name or part.get_content_disposition() == "attachment" or kind not in {"text/plain", "text/html"}:
            attachments.append(name or kind)
        elif kind == "text/plain":
            text = f"{text}\n\n{_words(part, source)}".strip()
        else:
            html = f"{html}\n{_words(part, source)}".strip()
    return Mail(_header(message, "Subject"), headers, text, "" if text else html, tuple(attachments))


def _leaves(message: EmailMessage) -> list[EmailMessage]:
    """The parts that hold something, without those of mails that are attached to this one."""
    if message.get_content_maintype() != "multipart":
        return [message]
    payload = message.get_payload()
    parts = payload if isinstance(payload, list) else []
    return [leaf for part in parts if isinstance(part, EmailMessage) for leaf in _leaves(part)]


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError, TypeError):
        # The standard library's header parser trips over some malformed addresses and dates; the raw words remain.
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _file_name(part: EmailMessage) -> str:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
            return _header(inner[0], "Subject") or "a mail"
    return part.get_filename() or ""


def _words(part: EmailMessage, source: str) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset() or "utf-8"
    try:
        return data.decode(charset).replace("\r\n", "\n").replace("\r", "\n")
    except (LookupError, UnicodeDecodeError):
        # The charset is unknown or not the true one.
        return decode(data, source)


def parse_mail(data: bytes, source: str) -> Document:
    """A message: its subject as heading, its headers, its body, the names of what is attached."""
    mail = read_mail(data, source)
    blocks = Blocks()
    blocks.stand_below(mail.subject)
    for name, value in mail.headers:
        blocks.add(f"{name}: {value}", Kind.LIST_ITEM)
    if mail.html:
        fill_from_html(blocks, mail.html, below=1)
    for paragraph in mail.text.split("\n\n"):
        blocks.add(paragraph)
    for name in mail.attachments:
        blocks.add(f"Attachment: {name}", Kind.LIST_ITEM)
    return blocks.document(source, mail.subject, "mail")
