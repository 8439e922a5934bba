"""The page in a real browser: from a dropped PDF to the marked quote, and hostile words that stay words."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import FRAGMENTS
from lmstudio_server import CHAT
from playwright.sync_api import Browser, Dialog, FilePayload, Page, Request, expect, sync_playwright
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from service_fixture import QUESTION, SAYS, RunningService, running_service

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "msedge"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

FACT = "The harbour lamp of Skagen burns 14 litres of oil a night."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"] if root else [])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: RunningService) -> Iterator[Page]:
    """The page, which must neither fail nor ask anybody else for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    wrong: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((service.url, "blob:")):
            wrong.append(request.url)

    def stopped(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", stopped)
    opened.on("request", asked)
    opened.goto(service.url)
    yield opened
    context.close()
    assert wrong == []


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")


def test_from_a_dropped_pdf_to_the_marked_quote(page: Page, service: RunningService, tmp_path: Path) -> None:
    pdf = tmp_path / "lamps.pdf"
    canvas = Canvas(str(pdf), pagesize=A4)
    canvas.drawString(72, 700, "Lamps of the north.")
    canvas.showPage()
    canvas.drawString(72, 600, FACT)
    canvas.save()
    page.get_by_role("link", name="Documents").click()
    page.locator("#files").set_input_files(pdf)
    expect(page.locator("#uploads li")).to_contain_text("added")
    expect(page.locator("#list")).to_contain_text("lamps.pdf")
    page.get_by_role("link", name="Ask").click()
    service.lm.says = f"{FACT} [1]"
    ask(page, "How much oil does the harbour lamp of Skagen burn a night?")
    page.get_by_role("button", name="Source 1, verified").click()
    expect(page.locator("#source-note")).to_contain_text("page 2")
    expect(page.locator("#quote")).to_have_text(FACT)
    expect(page.locator("#source-image")).to_be_visible()
    assert page.evaluate("document.getElementById('source-image').naturalWidth") > 500
    page.keyboard.press("Escape")
    expect(page.locator("#source")).to_be_hidden()
    expect(page.get_by_role("button", name="Source 1, verified")).to_be_focused()


def test_a_changed_file_and_an_unsupported_sentence_are_marked(page: Page, service: RunningService) -> None:
    (service.docs / "clamp.md").write_text("# Clamp\n\nAnother text.\n")
    service.lm.says = f"{SAYS} [1] It was painted by Rembrandt in 1642."
    ask(page, QUESTION)
    expect(page.locator(".sources")).to_contain_text("file has changed")
    expect(page.locator(".answer")).to_contain_text("[unverified]")


def test_what_the_documents_do_not_say(page: Page, service: RunningService) -> None:
    service.lm.says = "I don't know."
    ask(page, QUESTION)
    expect(page.locator(".answer.abstained")).to_have_text("The documents do not answer this.")
    expect(page.get_by_text("The nearest passages")).to_be_visible()


def test_hostile_words_stay_words(page: Page, service: RunningService) -> None:
    """In a file's name, in its text, in the question, and in what the model says."""
    fragments = [fragment for fragment in FRAGMENTS if "\ud800" not in fragment]
    words = "\n\n".join(fragments)
    text = f"# <script>alert(2)</script>\n\nThe mill of Ribe grinds 9 sacks. {words}\n"
    evil: FilePayload = {"name": "<img src=x onerror=alert(1)> & \u202egpj.md", "mimeType": "", "buffer": text.encode()}
    page.get_by_role("link", name="Documents").click()
    page.locator("#files").set_input_files(evil)
    expect(page.locator("#uploads li")).to_contain_text("added")
    page.get_by_role("link", name="Ask").click()
    service.lm.says = f"The mill of Ribe grinds 9 sacks. [1] {' '.join(fragments)}"
    ask(page, "How many sacks does the mill of Ribe grind? <img src=x onerror=alert(3)>")
    page.locator(".sources button", has_text="mill of Ribe").first.click()
    expect(page.locator("#quote")).to_contain_text("mill of Ribe")
    assert page.locator("main img, main script, main a[href^=java], #source-text *:not(mark)").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()


def test_a_conversation_is_kept_and_deleted(page: Page, service: RunningService) -> None:
    service.lm.says = "The steel cover costs 3.50 EUR. [1]"
    page.get_by_label("Conversation", exact=True).fill("covers")
    page.get_by_role("button", name="Open").click()
    ask(page, "What does the steel cover cost?")
    expect(page.locator(".sources")).to_contain_text("prices.md")
    page.reload()
    expect(page.locator("#turns")).to_be_empty()
    page.get_by_label("Conversation", exact=True).fill("covers")
    page.get_by_role("button", name="Open").click()
    expect(page.locator(".turn h3")).to_have_text("What does the steel cover cost?")
    page.evaluate("window.confirm = () => true")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#turns")).to_be_empty()
    assert service.http.get("/api/kb/conversations").json() == {"conversations": []}


def test_models_are_unloaded_and_loaded_with_a_time(page: Page, service: RunningService) -> None:
    service.desk.lm.load(CHAT)
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name=f"Unload {CHAT}").click()
    page.get_by_role("button", name=f"Load {CHAT}").click()
    expect(page.get_by_role("row", name=CHAT)).to_contain_text("if idle")


def test_it_fits_a_phone_and_says_what_is_wrong(page: Page, service: RunningService) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_text("Filters").click()
    page.get_by_label("Only documents that fulfil").fill("colour ==")
    ask(page, QUESTION)
    expect(page.get_by_role("alert").last).to_contain_text("colour")
