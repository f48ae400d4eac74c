"""The bar with the pages' names, which a browser shows at once: Streamlit's scripts take a second before they draw."""

from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import file_util

from cnnviz.app.shell import PAGES

_ROOT = '<div id="root"></div>'  # where Streamlit puts the app


def routes() -> list[Route]:
    """The addresses of the pages, answered by Streamlit's own document with that before its root."""
    return [Route(path, _answer) for path in ("/", *(f"/{page}" for page in PAGES))]


def document(asked: str) -> str:
    """The document for the page with that address; Streamlit's own if a later one has no such root."""
    streamlits = Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8")
    names = "".join(
        f"<span{' class=asked' if page == asked else ''}>{escape(title)}</span>" for page, (title, _) in PAGES.items()
    )
    opening = Path(__file__).with_suffix(".html").read_text(encoding="utf-8").replace("PAGES", names)
    return streamlits.replace("<title>Streamlit</title>", "<title>cnnviz</title>").replace(_ROOT, opening + _ROOT)


def _answer(request: Request) -> HTMLResponse:
    asked = request.url.path.strip("/") or next(iter(PAGES))
    return HTMLResponse(document(asked), headers={"Cache-Control": "no-cache"})
