"""What people write does nothing but show text: in HTML, and in the Markdown of the archive."""

import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from cnnviz.render.report.words import as_html, as_markdown, plain

NASTY = [
    "<script>alert(1)</script>",
    "<img src=https://evil.example/x onerror=alert(1)>",
    "![x](https://evil.example/x.png)",
    "![x][ref]\n\n[ref]: https://evil.example/x.png",
    "[x](javascript:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x]( <javascript:alert(1)>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x][ref]\n\n[ref]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "[x](vbscript:x) [y](file:///etc/passwd) [z](//evil.example)",
    "- a\n  <iframe src=https://evil.example>",
    "`<b>` and\n\n    <script>code</script>",
    "</div></section><style>*{display:none}</style>",
    "> [x](JaVaScRiPt:alert(1))",
]


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _is_inert(text: str) -> bool:
    allowed = {"p", "a", "ul", "li", "blockquote", "pre", "code", "strong", "em", "h4", "h5", "table"}
    for tag, attributes in _Elements(text).found:
        if tag not in allowed or any(name.startswith("on") or name in ("src", "style") for name in attributes):
            return False
        if not re.match(r"(https?:|mailto:|#)", attributes.get("href") or "#"):
            return False
    return True


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nothing_runs_and_nothing_is_fetched(text: str) -> None:
    assert not _is_inert(MarkdownIt("js-default", {"html": True}).render(f"{text}\n\n<b>x</b>"))  # it would be seen
    assert _is_inert(as_html(text))
    trusting = MarkdownIt("commonmark", {"html": True})  # as careless as any reader of Markdown
    trusting.validateLink = lambda url: True  # type: ignore[method-assign]
    assert _is_inert(trusting.render(as_markdown(text)))


def test_the_rest_is_markdown() -> None:
    made = as_html("# Why\n\n**tanh** [wins](https://example.org)\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n- x")
    assert "<h4>Why</h4>" in made  # below the report's own headings
    assert "<strong>tanh</strong>" in made
    assert 'href="https://example.org"' in made
    assert made.count("<td>") == 2
    assert "<li>x</li>" in made
    kept = "# Why\n\n**tanh** [wins](https://example.org)\n\n```\na < b\n```\n\n- x"
    assert as_markdown(kept) == kept


@pytest.mark.parametrize(
    "name",
    [
        "*a* _b_ `c`",
        "[x](http://y) ![z](w)",
        "<b> & $x$ | ~~y~~ # 1. - +",
        "two\nlines",
        "1. x",
        "- x",
        "# x",
        "2) x",
        "---",
    ],
)
def test_names_are_shown_as_they_are(name: str) -> None:
    shown = MarkdownIt("js-default", {"html": True}).render(plain(name))
    text = re.sub(r"<[^>]*>", "", shown).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
    assert text == " ".join(name.split())
    assert {tag for tag, _ in _Elements(shown).found} == {"p"}
