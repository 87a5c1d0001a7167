"""An HTML document of ours: self-contained, without script, closed to the network, light and dark."""

from training.report.markup import Markup, element
from training.report.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, main: Markup, more_style: str = "") -> str:
    """Return the page with this title and `<main>`; `more_style` is CSS beside what all pages have."""
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<link rel="icon" href="data:,">'),
        element("title", title),
        Markup(f"<style>{STYLE}{more_style}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', main), lang='en')}\n"
