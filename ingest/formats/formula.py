"""Formulas of Word and PowerPoint (OMML) on one line, as one would type them. Pure."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_DEEPEST = 100


def formula_text(element: "_Element", depth: int = 0) -> str:
    """The formula's letters and signs, with the signs that its layout stands for: a/b, a^b, a_b, √(a), (a)."""
    if depth > _DEEPEST:
        return "".join(element.itertext(f"{_M}t"))
    tag = str(element.tag).removeprefix(_M)

    def of(name: str) -> str:
        child = element.find(f"{_M}{name}")
        return "" if child is None else formula_text(child, depth + 1)

    def said(properties: str, name: str, otherwise: str) -> str:
        found = element.find(f"{_M}{properties}/{_M}{name}")
        return otherwise if found is None else found.get(f"{_M}val", otherwise)

    match tag:
        case "t":
            return element.text or ""
        case "f":
            return f"{_grouped(of('num'))}/{_grouped(of('den'))}"
        case "sSup":
            return f"{_grouped(of('e'))}^{_grouped(of('sup'))}"
        case "sSub":
            return f"{_grouped(of('e'))}_{_grouped(of('sub'))}"
        case "sSubSup" | "sPre":
            return f"{_grouped(of('e'))}_{_grouped(of('sub'))}^{_grouped(of('sup'))}"
        case "rad":
            degree = of("deg")
            return f"{degree}√({of('e')})" if degree else f"√({of('e')})"
        case "d":
            inner = said("dPr", "sepChr", ", ").join(
                formula_text(child, depth + 1) for child in element.iterchildren(f"{_M}e")
            )
            return f"{said('dPr', 'begChr', '(')}{inner}{said('dPr', 'endChr', ')')}"
        case "nary":
            limits = "".join(
                f"{sign}{_grouped(limit)}" for sign, name in (("_", "sub"), ("^", "sup")) if (limit := of(name))
            )
            return f"{said('naryPr', 'chr', '∫')}{limits} {of('e')}"
        case "func":
            return f"{of('fName')} {of('e')}"
        case "m" | "eqArr":
            rows = [child for child in element if child.tag in {f"{_M}mr", f"{_M}e"}]
            return "; ".join(formula_text(row, depth + 1) for row in rows)
        case "mr":
            return ", ".join(formula_text(child, depth + 1) for child in element.iterchildren(f"{_M}e"))
        case "limLow":
            return f"{of('e')}_{_grouped(of('lim'))}"
        case "limUpp":
            return f"{of('e')}^{_grouped(of('lim'))}"
    return "".join(formula_text(child, depth + 1) for child in element)


def _grouped(text: str) -> str:
    """The text, in brackets where it would not hold together."""
    whole = text.startswith("(") and text.find(")") == len(text) - 1
    return text if len(text) <= 1 or text.isalnum() or whole else f"({text})"
