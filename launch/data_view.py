"""The data doctor in a terminal: coloured there, plain marks anywhere else."""

from typing import TYPE_CHECKING, Any

from data.doctor.examination import Examination
from data.doctor.flags import FLAGS, NOTES
from data.doctor.preview import CONTEXT, CUT, PADDING, TRAINED, Piece, pieces
from data.doctor.sequences import TokenRow
from training.mixture import source_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BAR = 40
COLOURS = {CONTEXT: "dim", TRAINED: "black on green", CUT: "strike red", PADDING: "dim italic"}
MARKS = {CONTEXT: ("", ""), TRAINED: ("[", "]"), CUT: ("{", "}"), PADDING: ("", "")}
LEGEND = "tokens: plain context, [trained], {beyond the limit}"
VISIBLE = str.maketrans({" ": "\u00b7", "\n": "\u21b5", "\t": "\u2192", "\r": "\u240d"})


def print_diagnosis(diagnosis: Any, tokenizer: Any, previews: int, console: "Console | None" = None) -> None:
    """Print what was found in one stage's rows, and the first `previews` of its preview rows token by token."""
    from rich.console import Console

    console = console or Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{diagnosis.name}[/] ({diagnosis.kind}): {diagnosis.source}", markup=True)
    found = diagnosis.found
    if found is None:
        console.print(f"  not examined: {diagnosis.reason}", style="yellow", markup=False)
        return
    for line in account_lines(diagnosis):
        console.print(f"  {line}", markup=False)
    for line, style in finding_lines(diagnosis):
        console.print(f"  {line}", style=style, markup=False)
    for line in histogram_lines(found):
        console.print(f"  {line}", markup=False)
    shown = found.previews[:previews]
    if shown and not console.is_terminal:
        console.print(f"  {LEGEND}", markup=False)
    for row in shown:
        for name, text in preview_texts(row, tokenizer, console.is_terminal):
            console.print(f"  row {row.number}{'' if name == 'row' else f' {name}'}:", style="bold", markup=False)
            console.print(text)


def account_lines(diagnosis: Any) -> list[str]:
    """Rows in, dropped by reason, examined; tokens and trained tokens a row; the pairs' length bias."""
    summary = diagnosis.found.summary()
    dropped = ", ".join(f"{count} {reason}" for reason, count in diagnosis.dropped.items() if count) or "none"
    lines = [f"{diagnosis.rows_in} rows in, dropped: {dropped}; {summary['rows']} examined"]
    for what, key in (("tokens", "tokens"), ("trained", "trained_tokens")):
        for name, spread in summary[key].items():
            of = "" if name == "row" else f" {name}"
            lines.append(
                f"{what}{of}: {spread['min']} to {spread['max']} a row, median {spread['median']}, "
                f"95 % up to {spread['p95']}, {spread['sum']} in all"
            )
    bias = summary["length_bias"]
    if bias is not None:
        low, high = bias["ci95"]
        longer = f", longer in {bias['chosen_longer']:.0%} of unequal pairs" if "chosen_longer" in bias else ""
        lines.append(f"chosen less rejected: {bias['mean']:+.1f} tokens (95 % {low:+.1f} to {high:+.1f}){longer}")
    return lines


def finding_lines(diagnosis: Any) -> list[tuple[str, str]]:
    """Flags, notes and findings on the template, each with its style."""
    found = diagnosis.found
    lines = [(_finding("FLAG", name, numbers, FLAGS[name]), "bold red") for name, numbers in found.flagged.items()]
    lines += [(_finding("note", name, numbers, NOTES[name]), "yellow") for name, numbers in found.noted.items()]
    lines += [(f"note {name}: {meaning}", "yellow") for name, meaning in diagnosis.findings.items()]
    lines += [(f"source {name}: {source_words(facts)}", "") for name, facts in diagnosis.sources.items()]
    if not found.flagged:
        lines.append(("no row is flagged", "green"))
    return lines


def _finding(word: str, name: str, numbers: list[int], meaning: str) -> str:
    some = ", ".join(str(number) for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return f"{word} {name}: {len(numbers)} row(s) ({some}): {meaning}"


def histogram_lines(found: Examination) -> list[str]:
    """The lengths as bars, with a line where the limit lies."""
    bins = found.histogram()
    most = max(bins.counts, default=1)
    lines = []
    over = False
    for place, count in enumerate(bins.counts):
        low, high = bins.bounds(place)
        if found.limit is not None and not over and low > found.limit:
            over = True
            lines.append(f"{'limit ' + str(found.limit):>13} {'-' * BAR}")
        lines.append(f"{f'{low}-{high}':>13} {'#' * round(count / most * BAR) or ('.' if count else '')} {count or ''}")
    return ["length in tokens", *(line.rstrip() for line in lines)]


def preview_texts(row: TokenRow, tokenizer: Any, coloured: bool) -> list[tuple[str, "Text"]]:
    """Each sequence of a row as one text: colours on a terminal, marks elsewhere."""
    from rich.text import Text

    special = frozenset(tokenizer.all_special_ids)
    texts = []
    for name, sequence in row.sequences.items():
        text = Text("    ")
        for piece in pieces(sequence, lambda ids: tokenizer.decode(ids, clean_up_tokenization_spaces=False), special):
            shown = visible(piece)
            if coloured:
                text.append(shown, style=COLOURS[piece.state])
            else:
                before, after = MARKS[piece.state]
                text.append(f"{before}{shown}{after}")
            if "\n" in piece.text:
                text.append("\n    ")
        texts.append((name, text))
    return texts


def visible(piece: Piece) -> str:
    """A piece's text with its whitespace and control characters to be seen."""
    text = piece.text.translate(VISIBLE)
    return "".join(char if char.isprintable() or ord(char) > 0x2000 else f"\\x{ord(char):02x}" for char in text)
