"""Sizes and tables as people read them."""


def size(num_bytes: int) -> str:
    """Return for example "512 B", "1.5 MB" or "3.2 GB" (decimal units)."""
    value, unit = float(num_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def counted(number: int) -> str:
    """Return for example "134.5 M" or "671.03 B"."""
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return columns padded to their widest cell, two spaces apart; the last column is not padded."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
