"""Raw text, for continued pretraining: a document a row, no roles and no template."""

from data.formats.format import Example, Format, Row
from data.formats.shape import TEXT
from data.row_checks import BadRow


def _text(row: Row) -> Example:
    text = row.get("text")
    if not isinstance(text, str):
        raise BadRow("wrong_kind", f"text is {type(text).__name__}; a row of raw text holds one text")
    if not text.strip():
        raise BadRow("empty", "text is blank")
    return Example([], text=text)


RAW_TEXT = Format(
    "text",
    {"text": TEXT},
    ("text",),
    _text,
    "`text`: a document; a .txt file is one",
    "the text as it is, trained on whole, with an end-of-text token",
    uses=("text",),
)
