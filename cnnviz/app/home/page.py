"""Home: what there is to see, what has come of it, and what to do next."""

from cnnviz.app import cache
from cnnviz.app.home import cards, opening, results
from cnnviz.app.state import Address
from cnnviz.app.watching import section

ADDRESS = Address("pages/home.py", section.KEYS)


def page() -> None:
    with ADDRESS.on_show():
        found = cache.runs()
        if section.PROJECTOR.get():
            section.projector(found, ADDRESS.update)
            return
        if not found:
            opening.ensure()
            cards.show()
            return
        section.section(found, ADDRESS.update)
        results.expected(found)
        results.checklist(found)
