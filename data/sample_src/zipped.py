"""The ODT and EPUB files, written by hand."""

from html import escape

from sample_src.archive import pack
from sample_src.blocks import Block, load

ODF = "urn:oasis:names:tc:opendocument:xmlns:"
NAMES = (
    f'xmlns:office="{ODF}office:1.0" xmlns:text="{ODF}text:1.0" xmlns:table="{ODF}table:1.0" '
    f'xmlns:style="{ODF}style:1.0" xmlns:fo="{ODF}xsl-fo-compatible:1.0" xmlns:meta="{ODF}meta:1.0" '
    f'xmlns:manifest="{ODF}manifest:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
ODT_TYPE = "application/vnd.oasis.opendocument.text"


def odt_styles() -> str:
    """Return styles.xml with the heading styles."""
    headings = "".join(
        f'<style:style style:name="Heading_20_{n}" style:display-name="Heading {n}" style:family="paragraph" '
        f'style:default-outline-level="{n}"><style:paragraph-properties fo:margin-top="0.4cm" fo:keep-with-next='
        f'"always"/><style:text-properties fo:font-size="{20 - 3 * n}pt" fo:font-weight="bold"/></style:style>'
        for n in (1, 2, 3)
    )
    standard = (
        '<style:style style:name="Standard" style:family="paragraph">'
        '<style:paragraph-properties fo:margin-bottom="0.2cm"/></style:style>'
    )
    return (
        f'{XML}<office:document-styles {NAMES} office:version="1.3"><office:styles>{standard}{headings}'
        "</office:styles></office:document-styles>"
    )


def odt_block(block: Block) -> str:
    """Return the XML of one block."""
    if block.kind == "heading":
        return (
            f'<text:h text:style-name="Heading_20_{block.level}" text:outline-level="{block.level}">'
            f"{escape(block.text)}</text:h>"
        )
    if block.kind == "table":
        rows = "".join(
            "<table:table-row>"
            + "".join(
                f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
                for cell in row
            )
            + "</table:table-row>"
            for row in block.rows
        )
        columns = f'<table:table-column table:number-columns-repeated="{len(block.rows[0])}"/>'
        return f'<table:table table:name="Table1">{columns}{rows}</table:table>'
    if block.items:
        entries = (f"<text:list-item><text:p>{escape(item)}</text:p></text:list-item>" for item in block.items)
        return f"<text:list>{''.join(entries)}</text:list>"
    return f'<text:p text:style-name="Standard">{escape(block.text)}</text:p>'


def odt(name: str, author: str) -> bytes:
    """Return an ODT file of a source file."""
    blocks = load(name)
    body = "\n".join(odt_block(block) for block in blocks)
    content = (
        f'{XML}<office:document-content {NAMES} office:version="1.3"><office:body><office:text>\n{body}\n'
        "</office:text></office:body></office:document-content>"
    )
    meta = (
        f'{XML}<office:document-meta {NAMES} office:version="1.3"><office:meta><dc:title>{escape(blocks[0].text)}'
        f"</dc:title><meta:initial-creator>{escape(author)}</meta:initial-creator>"
        "<meta:creation-date>2025-05-12T09:00:00</meta:creation-date></office:meta></office:document-meta>"
    )
    parts = {"content.xml": content, "styles.xml": odt_styles(), "meta.xml": meta}
    entries = f'<manifest:file-entry manifest:full-path="/" manifest:version="1.3" manifest:media-type="{ODT_TYPE}"/>'
    entries += "".join(
        f'<manifest:file-entry manifest:full-path="{part}" manifest:media-type="text/xml"/>' for part in parts
    )
    manifest = (
        f'{XML}<manifest:manifest xmlns:manifest="{ODF}manifest:1.0" manifest:version="1.3">'
        f"{entries}</manifest:manifest>"
    )
    members = [("mimetype", ODT_TYPE.encode())]
    members += [(part, text.encode()) for part, text in parts.items()]
    members.append(("META-INF/manifest.xml", manifest.encode()))
    return pack(members, frozenset({"mimetype"}))


def chapters(blocks: list[Block]) -> list[list[Block]]:
    """Cut a text before each heading of the first level."""
    result: list[list[Block]] = []
    for block in blocks:
        if block.kind == "heading" and block.level == 1:
            result.append([])
        result[-1].append(block)
    return result


def xhtml(title: str, body: str) -> str:
    """Return one XHTML page."""
    return (
        f'{XML}<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en" lang="en">\n<head><title>{escape(title)}</title>'
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def epub(name: str, title: str, author: str, foreword: str) -> bytes:
    """Return an EPUB 3 file with a title page and one file for each chapter."""
    pages = [("title", title, f"<h1>{escape(title)}</h1>\n<p>{escape(author)}</p>\n<p>{escape(foreword)}</p>")]
    for number, chapter in enumerate(chapters(load(name)), 1):
        heading = chapter[0].text
        body = [f"<h1>{number}. {escape(heading)}</h1>"]
        body += [
            f"<h{block.level}>{escape(block.text)}</h{block.level}>"
            if block.kind == "heading"
            else f"<p>{escape(block.text)}</p>"
            for block in chapter[1:]
        ]
        pages.append((f"chapter{number}", f"{number}. {heading}", "\n".join(body)))
    links = "".join(f'<li><a href="{key}.xhtml">{escape(text)}</a></li>' for key, text, _ in pages)
    navigation = xhtml("Contents", f'<nav epub:type="toc"><h1>Contents</h1><ol>{links}</ol></nav>')
    items = "".join(
        f'<item id="{key}" href="{key}.xhtml" media-type="application/xhtml+xml"/>\n' for key, _, _ in pages
    )
    spine = "".join(f'<itemref idref="{key}"/>\n' for key, _, _ in pages)
    package = (
        f'{XML}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="book" xml:lang="en">\n'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        '<dc:identifier id="book">urn:uuid:6f0f5a52-4f1d-5c8e-9a52-0d4be1c5a771</dc:identifier>\n'
        f"<dc:title>{escape(title)}</dc:title>\n<dc:creator>{escape(author)}</dc:creator>\n"
        "<dc:language>en</dc:language>\n<dc:date>2025-02-20</dc:date>\n"
        '<meta property="dcterms:modified">2025-02-20T09:00:00Z</meta>\n</metadata>\n<manifest>\n'
        f'<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>\n{items}</manifest>\n'
        f"<spine>\n{spine}</spine>\n</package>\n"
    )
    container = (
        f'{XML}<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
        'full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>\n'
    )
    members = [
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.encode()),
        ("OEBPS/content.opf", package.encode()),
        ("OEBPS/nav.xhtml", navigation.encode()),
    ]
    members += [(f"OEBPS/{key}.xhtml", xhtml(text, body).encode()) for key, text, body in pages]
    return pack(members, frozenset({"mimetype"}))
