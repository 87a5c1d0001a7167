"""The data doctor's page: findings, lengths against the limit, and rows with every token as what it is in training.

Self-contained and without script, as the report is. A line of tokens takes its direction from its first strong letter;
tokens have neither gaps nor borders between them, or the letters of joined scripts would come apart.
"""

from typing import Any

from data.doctor.examination import Examination
from data.doctor.flags import FLAGS, NOTES
from data.doctor.preview import PADDING, STATES, Piece, lines, pieces
from data.doctor.sequences import TokenRow
from training.mixture import source_words
from training.report.document import document
from training.report.markup import Markup, element, escape, join, section, table

WHITESPACE = {" ": "\u00b7", "\n": "\u21b5", "\t": "\u2192", "\r": "\u240d"}
TOKEN_STYLE = """
:root{--context:#8b909714;--context2:#8b90972b;
--trained:#2a9d5c3d;--trained2:#2a9d5c63;--cut:#ad2f2f26;--cut2:#ad2f2f40}
@media (prefers-color-scheme:dark){:root{--context:#9aa0a814;--context2:#9aa0a830;
--trained:#3fbf7840;--trained2:#3fbf7866;--cut:#ec8a8230;--cut2:#ec8a8250}}
.tokens{font:1rem/2 var(--sans);overflow-wrap:anywhere;margin:6px 0 0}
.tokens p{margin:0;white-space:pre-wrap}
.t{border-radius:3px}.context{background:var(--context);color:var(--muted)}.trained{background:var(--trained)}
.cut{background:var(--cut);text-decoration:line-through}
.context.o{background:var(--context2)}.trained.o{background:var(--trained2)}.cut.o{background:var(--cut2)}
.padding{color:var(--muted);border:1px dashed var(--rule);padding:0 8px;border-radius:99px;font-size:.8rem}
.t.special{font:.8rem var(--mono);unicode-bidi:isolate}.w{opacity:.45}
.t.several{text-decoration:underline dotted;text-underline-offset:5px}.cut.several{text-decoration:line-through}
.key{display:flex;flex-wrap:wrap;gap:6px 18px;list-style:none;margin:12px 0;padding:0;font-size:.86rem}
.key .t{padding:1px 8px;margin-right:6px}
.row{margin-top:16px;padding:12px 16px}.row h4{margin:0;font-size:.95rem}
.row h4 small{font-weight:400;color:var(--muted)}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:2px 10px;align-items:center;font-size:.82rem}
.bars span{text-align:right;color:var(--muted)}.bars i{display:block;height:12px;border-radius:3px;background:var(--c1)}
.bars .over i{background:var(--bad)}.bars>div{display:contents}
.bars .edge{grid-column:1/-1;border-top:1px dashed var(--bad);color:var(--bad);font-size:.78rem}
"""


def data_page(pipeline: str, sections: list[Markup]) -> str:
    """The HTML of the page from the sections of its stages."""
    header = element("header", element("p", "Data doctor", class_="over"), element("h1", pipeline))
    return document(f"{pipeline}: data", element("main", header, *sections), TOKEN_STYLE)


def stage_section(diagnosis: Any, tokenizer: Any) -> Markup:
    """One stage's findings, its histogram and its preview rows."""
    title = f"{diagnosis.name} ({diagnosis.kind})"
    found = diagnosis.found
    if found is None:
        return section(diagnosis.name, title, element("p", f"Not examined: {diagnosis.reason}"), lead=diagnosis.source)
    parts = [_account(diagnosis), _findings(diagnosis), _histogram(found)]
    if found.previews:
        states = [element("li", element("span", state, class_=f"t {state}"), STATES[state]) for state in STATES]
        states.append(element("li", element("span", "several", class_="t several"), "tokens that make one character"))
        parts.append(element("h3", "Rows token by token"))
        parts.append(element("ul", *states, class_="key"))
        parts.extend(preview_rows(found.previews, tokenizer))
    return section(diagnosis.name, title, *parts, lead=diagnosis.source)


def _account(diagnosis: Any) -> Markup:
    summary = diagnosis.found.summary()
    rows: list[list[str]] = [["Rows in", f"{diagnosis.rows_in:,}"]]
    rows += [[f"Dropped: {reason}", f"{count:,}"] for reason, count in diagnosis.dropped.items() if count]
    rows.append(["Examined", f"{summary['rows']:,}"])
    for what, key in (("Tokens", "tokens"), ("Trained tokens", "trained_tokens")):
        for name, spread in summary[key].items():
            of = "" if name == "row" else f" of {name}"
            spoken = f"{spread['min']:,} to {spread['max']:,}, median {spread['median']:,}, sum {spread['sum']:,}"
            rows.append([f"{what}{of}", spoken])
    rows += [[f"Source {name}", source_words(facts)] for name, facts in diagnosis.sources.items()]
    bias = summary["length_bias"]
    if bias is not None:
        low, high = bias["ci95"]
        rows.append(["Chosen less rejected", f"{bias['mean']:+.1f} tokens (95 % {low:+.1f} to {high:+.1f})"])
    return element("div", table(["", "tokens a row, or rows"], rows, "Account", numeric=[1]), class_="panel")


def _findings(diagnosis: Any) -> Markup:
    found = diagnosis.found
    rows: list[list[Any]] = []
    for style, named, meanings in (("bad", found.flagged, FLAGS), ("flat", found.noted, NOTES)):
        for name, numbers in named.items():
            some = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
            rows.append([element("span", name, class_=style), meanings[name], f"{len(numbers):,}", some])
    rows += [[element("span", name, class_="flat"), said, "", ""] for name, said in diagnosis.findings.items()]
    if not rows:
        return element("p", "No row is flagged.", class_="good")
    return element("div", table(["Finding", "Meaning", "Rows", "Numbers"], rows, "Findings", [2]), class_="panel")


def _histogram(found: Examination) -> Markup:
    bins = found.histogram()
    most = max(bins.counts, default=1)
    parts: list[Markup] = []
    over = False
    for place, count in enumerate(bins.counts):
        low, high = bins.bounds(place)
        if found.limit is not None and low > found.limit and not over:
            over = True
            parts.append(element("p", f"limit {found.limit:,}", class_="edge"))
        bar = element("i", style=f"width:{100 * count / most:.1f}%") if count else ""
        cells = (element("span", f"{low:,}\u2013{high:,}"), element("b", bar), element("span", f"{count:,}"))
        parts.append(element("div", *cells, class_="over" if over else None))
    return join(element("h3", "Length in tokens, before the limit"), element("div", *parts, class_="bars"))


def preview_rows(rows: list[TokenRow], tokenizer: Any) -> list[Markup]:
    """Each row as a card with all its sequences; padding as in one batch of these rows."""
    width = max(len(sequence.kept) for row in rows for sequence in row.sequences.values())
    special = frozenset(tokenizer.all_special_ids)

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    cards = []
    for row in rows:
        parts: list[Markup] = []
        for name, sequence in row.sequences.items():
            of = "" if name == "row" else f" {name}"
            tally = f"{len(sequence)} tokens, {sequence.num_trained_kept} trained"
            parts.append(element("h4", f"Row {row.number}{of} ", element("small", tally)))
            shown = pieces(sequence, decode, special, width)
            parts.append(element("div", *map(_line, lines(shown)), class_="tokens"))
        cards.append(element("div", *parts, class_="card row"))
    return cards


def _line(line: list[Piece]) -> Markup:
    return element("p", *(_piece(piece, place) for place, piece in enumerate(line)), dir="auto")


def _piece(piece: Piece, place: int) -> Markup:
    if piece.state == PADDING:
        return element("span", f"padding \u00d7 {piece.text}", class_="padding")
    marks = {"o": place % 2, "special": piece.special, "several": len(piece.ids) > 1}
    classes = " ".join(["t", piece.state, *(name for name, holds in marks.items() if holds)])
    return element("span", _visible(piece.text), class_=classes, title=f"{' '.join(map(str, piece.ids))} {piece.state}")


def _visible(text: str) -> Markup:
    """Text whose whitespace can be seen and still breaks lines."""
    parts = []
    for char in text:
        if char in WHITESPACE:
            parts.append(element("span", WHITESPACE[char], class_="w") + Markup("<wbr>"))
        else:
            parts.append(escape(char))
    return Markup("".join(parts))
