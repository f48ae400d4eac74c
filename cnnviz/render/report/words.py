"""What people wrote, in Markdown: as HTML that does nothing but show text, and as Markdown that does no more.

No HTML of their own, no picture (it would be fetched when the report is opened), no link to anything but the web and
mail.
"""

import html
import re
from functools import cache
from typing import Any

from markdown_it import MarkdownIt

HARMLESS = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_LEVELS = 3  # that headings go down: the report's own stand above them
_MARKS = re.compile(r"([\\`*_\[\]|~$<>&])")
_STARTS = re.compile(r"^(\d*)([-+#=]|[.)](?= |$))")  # of a list, a heading, a rule
_INLINE = re.compile(r"\]\(\s*<?([^\s)>]*)")
_DEFINED = re.compile(r"^( {0,3}\[[^\]]*)\](:\s*<?)(\S*)")


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "typographer": False}).enable(["table", "strikethrough"])
    parser.disable("image")
    parser.validateLink = _is_harmless  # type: ignore[method-assign, assignment]
    return parser


def as_html(text: str) -> str:
    """Markdown as HTML, safe whatever it says."""
    parser, environment = _parser(), dict[str, Any]()
    tokens = parser.parse(text, environment)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _LEVELS)}"
        for child in token.children or ():
            if child.type == "link_open":
                child.attrs |= {"rel": "noopener noreferrer", "target": "_blank"}
    return str(parser.renderer.render(tokens, parser.options, environment))


def as_markdown(text: str) -> str:
    """Markdown that shows the same in programs that allow HTML, pictures and any link."""
    code = {
        line
        for token in MarkdownIt("commonmark").parse(text)
        if token.type == "fence" and token.map
        for line in range(*token.map)
    }
    lines = text.splitlines()
    return "\n".join(line if place in code else _inert(line) for place, line in enumerate(lines))


def _inert(line: str) -> str:
    line = line.replace("<", "&lt;").replace("![", r"\![")
    line = _INLINE.sub(lambda its: its[0] if _is_harmless(its[1]) else "]\\" + its[0][1:], line)
    return _DEFINED.sub(lambda its: its[0] if _is_harmless(its[3]) else f"{its[1]}\\]{its[2]}{its[3]}", line)


def plain(text: str) -> str:
    """Text, such as a run's name, that Markdown shows as it is."""
    return _STARTS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", " ".join(text.split())))


def _is_harmless(address: str) -> bool:
    return bool(HARMLESS.match(html.unescape(address).strip()))
