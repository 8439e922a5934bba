"""Outlook's message files, read into the same form as other mail. The only door to python-oxmsg."""

import email
import email.policy
import email.utils
from typing import TYPE_CHECKING, Any

from ingest.formats.blocks import Blocks
from ingest.formats.charsets import declared
from ingest.formats.mail import Attachment, Mail, as_document, shown_headers
from ingest.formats.ole import streams
from ingest.formats.rtf import fill_from_rtf, uncompressed
from ingest.formats.text import decode
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document

if TYPE_CHECKING:
    from oxmsg import Message

# Numbers of properties in [MS-OXPROPS]; python-oxmsg has names for some of them only.
_HTML, _RTF, _TRAVELLED, _RECIPIENT_KIND, _SHORT_NAME, _SENDER, _SENDER_SMTP = (
    *(0x1013, 0x1009, 0x007D, 0x0C15, 0x3704),
    *(0x0C1F, 0x5D01),
)
_ROLES = {1: "To", 2: "Cc"}


def parse_msg(data: bytes, source: str) -> Document:
    """A message: its subject as heading, its headers, its body, the names of what is attached."""
    return parse_msg_whole(data, source)[0]


def parse_msg_whole(data: bytes, source: str) -> tuple[Document, list[tuple[str, bytes]]]:
    """A message, and the names and contents of the files attached to it.

    Raises UnreadableDocument (encrypted, damaged), EmptyDocument, and what python-oxmsg raises on a damaged file.
    """
    mail = read_msg(data, source)
    return as_document(mail, source), [(file.name, file.data) for file in mail.attachments]


def read_msg(data: bytes, source: str) -> Mail:
    """The message in the form that other mail has."""
    from oxmsg import Message

    streams(data, source, ())  # says what is wrong with a damaged container
    message = Message.load(data)
    kind = message.message_class.lower()
    travelled = message.properties.str_prop_value(_TRAVELLED) or ""
    sent = email.message_from_string(travelled, policy=email.policy.default)
    if "encrypted" in str(sent.get("Content-Type", "")).lower() or kind.endswith((".smime", ".rpmsg")):
        raise UnreadableDocument(f"{source} is an encrypted mail; save its text from the program that can read it")
    headers = _headers(message, dict(shown_headers(sent)))
    text = (message.body or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    html = "" if text else _html(message, source)
    if not text and not html:
        text = _rich(message, source)
    return Mail(message.subject or dict(headers).get("Subject", ""), headers, text, html, tuple(_attached(message)))


def _headers(message: "Message", travelled: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers that the message came with, and whom else its properties name."""
    known = dict(travelled)
    known.setdefault("From", " ".join((message.sender or "").split()))
    address = message.properties.str_prop_value(_SENDER_SMTP) or message.properties.str_prop_value(_SENDER) or ""
    if "@" in address and address.lower() not in known["From"].lower():
        known["From"] = f"{known['From']}, sent by {address}" if known["From"] else address
    people: dict[str, list[str]] = {}
    for recipient in message.recipients:
        role = _ROLES.get(recipient.properties.int_prop_value(_RECIPIENT_KIND) or 1)
        name, address = recipient.name, recipient.email_address
        told = known.get(role or "", "").lower()
        if role and (name or address) and (address or name).lower() not in told:
            people.setdefault(role, []).append(f"{name} <{address}>" if address and name != address else name)
    for role, names in people.items():
        known[role] = ", ".join(filter(None, [known.get(role, ""), *names]))
    if "Date" not in known and message.sent_date:
        known["Date"] = email.utils.format_datetime(message.sent_date)
    if message.subject:
        known.setdefault("Subject", " ".join(message.subject.split()))
    return tuple((name, known[name]) for name in ("From", "To", "Cc", "Date", "Subject") if known.get(name))


def _html(message: "Message", source: str) -> str:
    raw = message.properties.binary_prop_value(_HTML)
    if raw is None:
        return message.properties.str_prop_value(_HTML) or ""
    text = declared(raw, message.properties.body_encoding)
    return decode(raw, source) if text is None else text


def _rich(message: "Message", source: str) -> str:
    packed = message.properties.binary_prop_value(_RTF)
    if not packed:
        return ""
    blocks = Blocks()
    fill_from_rtf(blocks, uncompressed(packed), source)
    try:
        return blocks.document(source, "", "rtf").text
    except EmptyDocument:
        return ""


def _attached(message: "Message") -> list[Attachment]:
    found = []
    for number, attachment in enumerate(message.attachments, start=1):
        name = attachment.file_name or attachment.properties.str_prop_value(_SHORT_NAME) or f"attachment {number}"
        found.append(Attachment(" ".join(name.replace("/", "_").replace("\\", "_").split()), _bytes(attachment)))
    return found


def _bytes(attachment: Any) -> bytes:
    """What the file holds; nothing for a link, or for a mail, which is stored as its properties."""
    return attachment.file_bytes or b""
