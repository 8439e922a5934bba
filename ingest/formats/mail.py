"""Mail: headers, body, and what is attached to it."""

import codecs
import email
import email.policy
import email.utils
from dataclasses import dataclass, replace
from email.message import EmailMessage

from ingest.formats.blocks import Blocks
from ingest.formats.charsets import declared
from ingest.formats.text import decode
from ingest.formats.webpage import fill_from_html
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document, Kind

# The standard library's parser of addresses takes time by the square of their length: minutes for a megabyte.
_LONGEST_HEADER = 20_000
SHOWN_HEADERS = ("From", "To", "Cc", "Date", "Subject")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message, by the name it goes by there (no path, "" never)."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """A message: `headers` as pairs in a fixed order, the body as text or HTML (one of them may be empty)."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    attachments: tuple[Attachment, ...]


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
    headers = shown_headers(message)
    if not headers and not message.get("MIME-Version"):
        raise UnreadableDocument(f"{source} is not a mail message: it has no From, To, Date or Subject")
    if message.get_content_type() == "multipart/encrypted":
        raise UnreadableDocument(f"{source} is an encrypted mail; save its text from the program that can read it")
    text, html = "", ""
    attachments: list[Attachment] = []
    for part in _leaves(message):
        name = _file_name(part)
        kind = part.get_content_type()
        if name or part.get_content_disposition() == "attachment" or kind not in {"text/plain", "text/html"}:
            attachments.append(Attachment(name or kind.replace("/", "."), _content(part)))
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


def shown_headers(message: EmailMessage) -> tuple[tuple[str, str], ...]:
    """The headers that a reader wants to see, those that the message has."""
    return tuple((name, value) for name in SHOWN_HEADERS if (value := _header(message, name)))


def _content(part: EmailMessage) -> bytes:
    """What an attachment holds; of a mail, the mail as a file."""
    payload = part.get_payload()
    if isinstance(payload, list):
        try:
            return b"\n".join(inner.as_bytes() for inner in payload if isinstance(inner, EmailMessage))
        except (LookupError, ValueError, TypeError, AttributeError):
            return b""  # the standard library cannot write down every mail that it can read
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _header(message: EmailMessage, name: str) -> str:
    raw = str(next((value for key, value in message.raw_items() if key.lower() == name.lower()), ""))
    if len(raw) <= _LONGEST_HEADER:
        try:
            return " ".join(str(message.get(name, "")).split())
        except (ValueError, IndexError, AttributeError, TypeError):
            pass  # the standard library's header parser trips over some malformed addresses and dates
    return " ".join(raw.split())


def _file_name(part: EmailMessage) -> str:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
            return f"{_header(inner[0], 'Subject') or 'mail'}.eml".replace("/", "_")
    try:
        name = part.get_filename() or ""
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):
        return "unnamed"  # as above: the standard library trips over a malformed header
    return " ".join(name.replace("/", "_").replace("\\", "_").split())


def _words(part: EmailMessage, source: str) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    text = declared(data, part.get_content_charset() or "utf-8")
    # Where the charset is unknown or not the true one, it is guessed.
    return decode(data, source) if text is None else text.replace("\r\n", "\n").replace("\r", "\n")


def parse_mail(data: bytes, source: str) -> Document:
    """A message: its subject as heading, its headers, its body, the names of what is attached."""
    return as_document(read_mail(data, source), source)


def parse_mail_whole(data: bytes, source: str) -> tuple[Document, list[tuple[str, bytes]]]:
    """A message, and the names and contents of the files attached to it."""
    mail = read_mail(data, source)
    return as_document(mail, source), [(file.name, file.data) for file in mail.attachments]


def as_document(mail: Mail, source: str) -> Document:
    """The message as a document; sender, recipients and date are its metadata. Raises EmptyDocument."""
    blocks = Blocks()
    blocks.stand_below(mail.subject)
    for name, value in mail.headers:
        blocks.add(f"{name}: {value}", Kind.LIST_ITEM)
    if mail.html:
        fill_from_html(blocks, mail.html, below=1)
    for paragraph in mail.text.split("\n\n"):
        blocks.add(paragraph)
    for attachment in mail.attachments:
        blocks.add(f"Attachment: {attachment.name}", Kind.LIST_ITEM)
    return replace(blocks.document(source, mail.subject, "mail"), metadata=_metadata(mail))


def _metadata(mail: Mail) -> dict[str, str]:
    known = {name.lower(): value for name, value in mail.headers if name in {"From", "To", "Date"}}
    try:
        known["date"] = email.utils.parsedate_to_datetime(known["date"]).isoformat()
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        known.pop("date", None)
    return known
