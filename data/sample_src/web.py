"""The two HTML pages, with the clutter around them that web pages have."""

from html import escape

from sample_src.blocks import Block, load

MENU = ("Products", "Dealers", "Support", "Growers' stories", "About us")


def element(block: Block) -> str:
    """Return the HTML of one block."""
    if block.kind == "heading":
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if block.items:
        return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in block.items) + "\n</ul>"
    return f"<p>{escape(block.text)}</p>"


def page(name: str) -> bytes:
    """Return the page of a source file."""
    blocks = load(name)
    title = blocks[0].text
    links = "\n".join(f'<li><a href="/{entry.split()[0].lower()}/">{escape(entry)}</a></li>' for entry in MENU)
    body = "\n".join(element(block) for block in blocks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(title)} | Fernholt Instruments</title>
<style>body {{ font-family: sans-serif; max-width: 44em; margin: auto }} nav li {{ display: inline }}</style>
<script>window.visits = (window.visits || 0) + 1;</script>
</head>
<body>
<header><a href="/">Fernholt Instruments</a> <span>Weather and greenhouse sensors since 1998</span></header>
<nav>
<ul>
{links}
</ul>
<form action="/search"><input name="q" placeholder="Search"> <button>Go</button></form>
</nav>
<main>
{body}
</main>
<aside>
<p>Our newsletter comes four times a year. <a href="/newsletter/">Subscribe</a></p>
</aside>
<footer>
<p>Fernholt Instruments, Sluice Lane 9, Marrick Bridge</p>
<p><a href="/imprint/">Imprint</a> <a href="/privacy/">Privacy</a> <a href="/cookies/">Cookie settings</a></p>
</footer>
</body>
</html>
""".encode()
