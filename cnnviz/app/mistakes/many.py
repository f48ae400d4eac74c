"""Many networks: how far they agree, and what all of them get wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import ABOVE_CHANCE
from cnnviz.app import cache, widgets
from cnnviz.app.components.heat import Bar, Square, heat
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import gallery
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key, list_key, open_page, text_key
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.inspection import agreement, outputs
from cnnviz.inspection.mistakes import ALWAYS, NO_ANSWER, answers
from cnnviz.render import many_words
from cnnviz.render.heat import bar, shades
from cnnviz.store import addresses, artifacts
from cnnviz.store.runs import Run
from cnnviz.wording import count, listed, percent

RUNS = list_key(
    "networks",
    key="many_networks",
    parse=lambda text: text[:8],
    wrong="network {text} from the address is not among those that can be compared; it is left out",
)
ORDER = text_key("many_order", "accuracy")
KEYS: tuple[Key[Any], ...] = (RUNS, ORDER)
ORDERS = {"accuracy": "Most accurate first", "similarity": "By similarity"}
MOST = 24  # networks
MOST_KEPT = 500  # networks' answers in memory, 10 kB each


@dataclass(frozen=True, eq=False)
class Asked:
    """A network at its last kept epoch, and what it answers (N,)."""

    one: Chosen
    told: np.ndarray
    accuracy: float


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of the networks that learned the data set of the first one."""
    found = _candidates(dataset)
    with st.container(horizontal=True, vertical_alignment="bottom", key="many_line"):
        those = _choose(found)
        if len(those) > 2:
            widgets.one_of("Order", ORDERS, ORDER)
        else:
            ORDER.offer(ORDERS)
    if len(those) < 2:
        widgets.empty_state(
            "Two networks or more are compared here: choose them above, or train more with **New experiment**."
        )
        return
    known, unknown = [], []
    for one in those:
        told = _known(one, dataset)
        known.append((one, told)) if told is not None else unknown.append(one)
    bar_of = st.empty()
    if unknown:
        bar_of.progress(len(known) / len(those), _so_far(len(known), len(those)))
    _show(known, len(unknown), dataset)
    if unknown:
        _ask(unknown, len(known), len(those), dataset, bar_of)


# -- which networks --------------------------------------------------------------------------------


def _candidates(dataset: Dataset) -> list[Chosen]:
    """Every run on this data set whose weights were kept, the most accurate first, each at its last kept epoch."""
    runs = [run for run in cache.runs() if run.epoch >= 0 and run.config.dataset == dataset.name]
    kept = {run.id: _kept_epochs(addresses.tracking_uri(), run.id, run.epoch, run.status) for run in runs}
    runs = sorted((run for run in runs if kept[run.id]), key=lambda run: -_last(run))
    return [Chosen("many", run, kept[run.id][-1], tuple(kept[run.id]), "") for run in runs]


@st.cache_data(max_entries=1000, show_spinner=False)
def _kept_epochs(uri: str, run_id: str, epoch: int, status: str) -> list[int]:
    """Those whose weights can be loaded; a server says so slowly."""
    return artifacts.checkpoint_epochs(run_id)


def _last(run: Run) -> float:
    """Its last test accuracy; -1: not finite, or none."""
    last = run.accuracy[-1] if run.accuracy else np.nan
    return float(last) if np.isfinite(last) else -1.0


def _choose(found: Sequence[Chosen]) -> list[Chosen]:
    """Those chosen, named; the button that says how many there are opens their list."""
    by_id = {one.run.id[:8]: one for one in found}
    learned = [key for key, one in by_id.items() if _last(one.run) >= ABOVE_CHANCE]
    RUNS.offer(by_id, learned[:MOST], most=MOST)
    # Drawn only while it is open: closed, the browser would go on reporting what it last showed there.
    place = st.popover(count(len(RUNS.get()), "network"), key="many_choice", on_change="rerun")
    if place.open:
        with place:
            st.multiselect(
                "Networks, each after its last epoch that was kept",
                list(by_id),
                format_func=lambda key: f"{widgets.label(by_id[key].run)} · {100 * _last(by_id[key].run):.0f} %",
                key=RUNS.widget,
                max_selections=MOST,
                on_change=gallery.restart,
                width=520,
            )
            if left := len(by_id) - len(learned):
                st.caption(f"Left out at first: {count(left, 'network')} at chance level.")
    those = [by_id[key] for key in RUNS.get()]
    names = labels([one.run for one in those])
    named = [Chosen(one.side, one.run, one.epoch, one.epochs, names[one.run.id] or one.run.name) for one in those]
    return sorted(named, key=lambda one: -_last(one.run))


# -- what they answer ------------------------------------------------------------------------------


@st.cache_resource(show_spinner=False)
def _memory() -> dict[tuple[str, str, int], np.ndarray]:
    return {}


def _known(one: Chosen, dataset: Dataset) -> np.ndarray | None:
    """What it answers, if that has been computed before."""
    memory = _memory()
    if one.key not in memory and (found := outputs.kept(one.run, one.epoch, dataset)) is not None:
        _remember(one, answers(found))
    return memory.get(one.key)


def _remember(one: Chosen, told: np.ndarray) -> None:
    memory = _memory()
    memory[one.key] = told.astype(np.int8)
    for oldest in list(memory)[:-MOST_KEPT]:
        memory.pop(oldest, None)


def _so_far(known: int, every: int) -> str:
    return f"Asking the networks about the test pictures: {known} of {every} known, which are shown below …"


def _ask(unknown: Sequence[Chosen], known: int, every: int, dataset: Dataset, place: Any) -> None:
    """The next of them, and then draw the page anew with what is known so far."""
    problems = []
    for one in unknown:

        def show(words: str, fraction: float) -> None:
            place.progress((known + fraction) / every, _so_far(known, every))

        try:
            _remember(one, answers(outputs.of(one.run, one.epoch, dataset, show)))
        except CnnvizError as error:
            problems.append(str(error))
        else:
            st.rerun()
    place.warning(plain(f"Left out: {'; '.join(problems)}"))


# -- what is shown ---------------------------------------------------------------------------------


def _show(known: Sequence[tuple[Chosen, np.ndarray]], unknown: int, dataset: Dataset) -> None:
    true = dataset.test_labels.numpy()
    every = [Asked(one, told, float((told == true).mean())) for one, told in known if (told != NO_ANSWER).any()]
    every.sort(key=lambda each: -each.accuracy)
    _remarks(known, dataset)
    if len(every) < 2:
        if not unknown:
            widgets.empty_state("Fewer than two of these networks have predictions: choose others above.")
        return
    wrong = agreement.wrong_by_all([each.told for each in every], true)
    by_luck = agreement.wrong_by_luck([each.told for each in every], true)
    st.markdown(plain(many_words.headline(len(every), wrong, by_luck, len(true))))
    _table(every)
    _pictures(every, wrong, dataset)


def _remarks(known: Sequence[tuple[Chosen, np.ndarray]], dataset: Dataset) -> None:
    """Which of them have nothing to say, and a way to leave those out."""
    silent, constant = [], []
    for one, told in known:
        said = told[told != NO_ANSWER]
        if not len(said):
            silent.append(one)
        elif (counts := np.bincount(said)).max() >= ALWAYS * len(said):
            constant.append((one, dataset.classes[int(counts.argmax())]))
    notes = []
    if silent:
        notes.append(f"{many_words.without([one.short for one in silent])}: left out.")
    if constant:
        says = listed([f"{one.short} says {name}" for one, name in constant], "; ")
        notes.append(f"{says} for everything, which makes what all get wrong say little.")
    if notes:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(plain(" ".join(notes)), width="content")
            out = {one.run.id[:8] for one in [*silent, *(one for one, _ in constant)]}
            rest = [key for key in RUNS.get() if key not in out]
            st.button("Leave out", icon=":material/close:", type="tertiary", on_click=partial(RUNS.set, rest))


def _table(every: Sequence[Asked]) -> None:
    table = agreement.agreement([each.told for each in every])
    if ORDER.get() == "similarity":
        order = agreement.by_agreement(table)
        every, table = [every[place] for place in order], table[np.ix_(order, order)]
    apart = table[~np.eye(len(every), dtype=bool)]
    low, high = float(apart.min()), max(float(apart.max()), float(apart.min()) + 0.01)
    colours = shades(table.flatten().tolist(), low, high)
    names = [f"{each.one.short} · {place}" for place, each in enumerate(every, 1)]
    cells = [
        [
            _square(every, row, column, float(table[row, column]), *colours[row * len(every) + column])
            for column in range(len(every))
        ]
        for row in range(len(every))
    ]
    picked = heat(
        "On how many pictures two networks give the same answer",
        [str(place) for place in range(1, len(every) + 1)],
        names,
        [("Same answer, in % of the pictures; on the diagonal, how many are right", cells)],
        Bar("Same answer", percent(low, 0), percent(high, 0), bar(low, high)),
        key="many_agreement",
        compact=True,
    )
    if picked:
        _open(every[picked[1]].one, every[picked[2]].one)


def _square(every: Sequence[Asked], row: int, column: int, share: float, paper: str, ink: str) -> Square:
    a, b = every[row], every[column]
    if row == column:
        words = f"{a.one.short}: {100 * a.accuracy:.1f} % right. Show its mistakes"
        return Square(f"{100 * a.accuracy:.0f}", "", words, "transparent", "inherit")
    words = f"{a.one.short} and {b.one.short}: the same answer to {100 * share:.1f} % of the pictures. Compare the two"
    return Square(f"{100 * share:.0f}", "", words, paper, ink)


def _open(a: Chosen, b: Chosen) -> None:
    """The two beside each other; one alone with its confusion matrix."""
    if a.run.id == b.run.id:
        open_page("pages/mistakes.py", run=a.run.id[:8], epoch=str(a.epoch))
    else:
        fixed = {} if a.epoch == b.epoch else {"other_epoch": str(b.epoch)}
        ids = {"run": a.run.id[:8], "other": b.run.id[:8]}
        open_page("pages/mistakes.py", view="pair", epoch=str(a.epoch), **ids, **fixed)


def _pictures(every: Sequence[Asked], wrong: Sequence[tuple[int, int, int]], dataset: Dataset) -> None:
    if not wrong:
        return
    many, classes = len(every), dataset.classes
    votes = {picture: (taken, number) for picture, taken, number in wrong}
    doubts = ": perhaps such a label is doubtful" if many > 2 else ""
    st.caption(f"The wrong class that most of them agree on comes first{doubts}.")

    def items(shown: Sequence[int]) -> list[dict[str, str]]:
        made = []
        for index in shown:
            taken, number = votes[index]
            true = classes[int(dataset.test_labels[index])]
            who = many_words.votes(classes[taken], number, many)
            made.append({"name": who, "note": f"label: {true}", "title": f"test picture {index}, {true}: {who}"})
        return made

    def about(index: int) -> None:
        st.markdown(plain(many_words.all_votes([int(each.told[index]) for each in every], classes)))

    best = [each.one for each in every[:2]]
    gallery.show("Wrong by all", [picture for picture, _, _ in wrong], items, best, dataset, about=about)
