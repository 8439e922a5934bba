"""What is attached to a mail, each with a name and its content."""

import email
import email.policy
import mimetypes
from collections.abc import Iterator
from email.message import EmailMessage, Message

from ingest.formats.mail import parse_mail
from ingest.formats.outlook import parse_msg_whole
from rag.types import Document

# What the standard library may raise over malformed headers, and over mails that it can read but not write.
_MALFORMED = (ValueError, IndexError, AttributeError, TypeError, LookupError)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})


def mail_and_attachments(data: bytes, source: str) -> tuple[Document, list[tuple[str, bytes]]]:
    """A message file as a document, and the names and contents of what is attached to it, in order.

    Raises what `parse_mail` raises.
    """
    document = parse_mail(data, source)
    message = email.message_from_bytes(data, policy=email.policy.default)
    return document, list(_attachments(message))


def msg_and_attachments(data: bytes, source: str) -> tuple[Document, list[tuple[str, bytes]]]:
    """The same of a message that Outlook saved. Raises what `parse_msg` raises."""
    return parse_msg_whole(data, source)


def _attachments(message: Message) -> Iterator[tuple[str, bytes]]:
    if message.get_content_maintype() == "multipart":
        payload = message.get_payload()
        for part in payload if isinstance(payload, list) else []:
            if isinstance(part, EmailMessage):
                yield from _part(part)


def _part(part: EmailMessage) -> Iterator[tuple[str, bytes]]:
    """What one part holds.

    Pictures in a letter's head, style sheets of saved pages and proofs of who signed belong to the mail itself.
    """
    kind = part.get_content_type()
    name = _file_name(part)
    is_attached = part.get_content_disposition() == "attachment"
    if kind == "message/rfc822":
        yield from _mail(part, name)
        return
    if part.get_content_maintype() == "multipart":
        yield from _attachments(part)
        return
    belongs_to_mail = part.get("Content-ID") or part.get("Content-Location")
    if kind in _SIGNATURES or (belongs_to_mail and not is_attached and not kind.startswith("application/")):
        return
    if not name and not is_attached and kind in {"text/plain", "text/html"}:
        return  # the mail's own words
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes) and payload:
        yield name or f"attachment{mimetypes.guess_extension(kind) or ''}", payload


def _mail(part: EmailMessage, name: str) -> Iterator[tuple[str, bytes]]:
    inner = part.get_payload()
    if not isinstance(inner, list) or not inner or not isinstance(inner[0], EmailMessage):
        return
    try:
        subject = str(inner[0].get("Subject", "")).strip().replace("/", "-")
        content = inner[0].as_bytes(policy=email.policy.compat32)
    except _MALFORMED:
        subject, content = "", b""
    yield name or f"{subject or 'mail'}.eml", content


def _file_name(part: EmailMessage) -> str:
    try:
        return part.get_filename() or ""
    except _MALFORMED:
        return "unnamed"
