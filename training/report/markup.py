"""HTML and SVG text, escaped by default: only what was built here is markup, any other string is shown as it is.

Completions come from models and data from anywhere, so nothing reaches the page without passing `element` or `escape`.
"""

import html
import re
from collections.abc import Iterable

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | float | None
Children = Child | Iterable[Child]


def escape(text: object) -> Markup:
    """Text as HTML, quotes included; control characters become U+FFFD."""
    return text if isinstance(text, Markup) else Markup(html.escape(CONTROL.sub("\ufffd", str(text))))


def join(*children: Children) -> Markup:
    """The children one after the other, escaped unless they are markup; None is left out, iterables are opened."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str | int | float):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def element(name: str, *children: Children, **attributes: object) -> Markup:
    """`<name attributes>children</name>`; a trailing underscore of a name is dropped, None left out."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = "".join(f' {key}="{escape(value)}"' for key, value in pairs)
    return Markup(f"<{name}{opening}>{join(*children)}</{name}>")


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str, numeric: Iterable[int] = ()) -> Markup:
    """A table whose first column heads its rows; `numeric` are the columns set to the right in even figures.

    It scrolls sideways inside its own box when the page is too narrow.
    """
    right = set(numeric)
    heads = list(head)
    styles = ["number" if column in right else None for column in range(len(heads))]
    top = element("tr", *(element("th", text, scope="col", class_=styles[i]) for i, text in enumerate(heads)))
    body = []
    for row in rows:
        first, *others = row
        cells = [element("td", cell, class_=styles[i]) for i, cell in enumerate(others, start=1)]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    inner = join(element("caption", caption), element("thead", top), element("tbody", *body))
    return element("div", element("table", inner), class_="scroll", tabindex="0", role="region", aria_label=caption)


def section(identifier: str, title: str, *children: Children, lead: Child = None) -> Markup:
    """A section of the page with its heading and, under it, one sentence on how to read it."""
    intro = element("p", lead, class_="lead") if lead is not None else None
    return element("section", element("h2", title), intro, *children, id=identifier)
