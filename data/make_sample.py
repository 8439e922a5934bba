"""Write all files of `data/sample` again; every run gives the same bytes.

Needs python-docx, python-pptx, openpyxl and reportlab (the dependency group `sample`).
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from sample_src import mail, office, pdf, tickets, web, zipped
from sample_src.blocks import source
from sample_src.records import STOCK, STOCK_HEAD

SAMPLE = Path(__file__).parent / "sample"
FOREWORD = (
    "A booklet for people who grow things under glass. Third printing, February 2025. "
    "Written for our customers and given away with every box of ten sensors."
)


def inventory() -> bytes:
    """Return the stocktaking as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(STOCK_HEAD)
    writer.writerows(STOCK)
    return buffer.getvalue().encode()


def copy(name: str) -> Callable[[], bytes]:
    """Return a writer for a text that stands in `sample_src` as it is."""
    return lambda: source(name).encode()


FILES: dict[str, Callable[[], bytes]] = {
    "engineering/radio-notes.md": copy("radio-notes.md"),
    "mail/loam-cable-decision.eml": mail.eml,
    "manuals/brisa-4-manual.pdf": pdf.manual,
    "manuals/growing-with-numbers.epub": lambda: zipped.epub(
        "handbook.md", "Growing with numbers", "Ines Calloway", FOREWORD
    ),
    "meetings/2025-10-08-production.txt": copy("production-meeting.txt"),
    "policies/returns-policy-2023.md": copy("returns-policy-2023.md"),
    "policies/returns-policy-2025.html": lambda: web.page("returns-2025.md"),
    "policies/sicherheit-werkstatt.md": copy("sicherheit-werkstatt.md"),
    "policies/travel-policy.odt": lambda: zipped.odt("travel.md", "Pavel Oduya"),
    "policies/warranty-terms.docx": lambda: office.docx("warranty.md", "Dalia Renswick"),
    "sales/price-list-2026.xlsx": office.xlsx,
    "sales/review-2025-q3.pptx": office.pptx,
    "stock/inventory-2025-10.csv": inventory,
    "support/faq.html": lambda: web.page("faq.md"),
    "support/tickets-2025.jsonl": tickets.jsonl,
}


def main() -> None:
    """Write every file and say how large it is."""
    for name, build in FILES.items():
        path = SAMPLE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = build()
        path.write_bytes(content)
        print(f"{len(content):>8} {name}")


if __name__ == "__main__":
    main()
