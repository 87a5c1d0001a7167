"""Raw text that every Python brings along: the language reference's topics of `help()` (pydoc_data, PSF licence).

A corpus of some 460 thousand characters for trying continued pretraining where there is no hub; `data: {callable:
"data.python_topics:documents", version: 1}`. Its titles make questions without a known answer (`:questions`), for
rewards that need none. Other versions of Python have slightly other texts.
"""

from collections.abc import Iterator


def documents() -> Iterator[dict[str, str]]:
    """Yield {"text": a topic}, in the order of their names."""
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield {"text": topics[name].strip()}


def questions() -> Iterator[dict[str, str]]:
    """Yield {"prompt": a question about a topic}, in the order of the topics' names."""
    for document in documents():
        title = document["text"].partition("\n")[0].strip()
        yield {"prompt": f"In the Python language: {title}. Say in one sentence what this is."}
