"""Home: what there is to see, what has come of it, and what to do next."""

from cnnviz.app import cache, watching
from cnnviz.app.home import cards, opening, results
from cnnviz.app.state import Address

ADDRESS = Address("pages/home.py")


def page() -> None:
    with ADDRESS.on_show():
        found = cache.runs()
        if not found:
            opening.ensure()
            cards.show()
            return
        watching.section(found)
        results.show(found)
