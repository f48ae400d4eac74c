"""Choosing one or two networks and an epoch, on the pages that look into networks."""

from dataclasses import dataclass

import streamlit as st

from cnnviz.analysis import leaderboard
from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import ABOVE_CHANCE
from cnnviz.app import widgets
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot, number_key, text_key
from cnnviz.data import Dataset
from cnnviz.inspection import outputs, recorded
from cnnviz.inspection.network import Prediction
from cnnviz.store import addresses, artifacts
from cnnviz.store.runs import Run, figure_to_rank
from cnnviz.wording import percent

NONE = "none"
FOLLOW = "the same"
RUN = text_key(
    "run",
    pinned=True,
    parse=lambda text: text[:8],
    wrong="run {text} from the address is not in this store; here is the best instead",
)
OTHER = text_key(
    "other",
    NONE,
    parse=lambda text: text[:8],
    wrong="run {text} from the address is not in this store; it is left out",
)
EPOCH = number_key("epoch", pinned=True)
OTHER_EPOCH = text_key("other_epoch", FOLLOW)
KEYS = (RUN, OTHER, EPOCH, OTHER_EPOCH)
PLAYING = Slot("playing", False)
SHOWN_EPOCH = Slot[int | None]("shown_epoch", None)
SECONDS_A_FRAME = 0.8


@dataclass(frozen=True)
class Chosen:
    """A run, and the epoch that it is looked at."""

    side: str  # "run" or "other"
    run: Run
    epoch: int
    epochs: tuple[int, ...]  # those whose weights can be loaded, in order
    short: str  # what tells its run from the others

    @property
    def title(self) -> str:
        return f"{self.run.name}, epoch {self.epoch}"

    @property
    def at_chance(self) -> bool:
        """Whether it did no better than guessing after that epoch."""
        place = self.epoch - self.run.first_epoch
        return 0 <= place < len(self.run.accuracy) and not self.run.accuracy[place] > ABOVE_CHANCE

    @property
    def key(self) -> tuple[str, str, int]:
        """What its weights are known by, in a cache."""
        return addresses.tracking_uri(), self.run.id, self.epoch

    @property
    def stem(self) -> str:
        """What the names of files about it begin with."""
        return f"{self.run.id[:8]}-epoch-{self.epoch}"


def choose(found: list[Run]) -> list[Chosen]:
    """Draw the choice of one or two networks in a row; if there is nothing to look into, say so and return none."""
    begun = [run for run in found if run.epoch >= 0]
    begun.sort(key=figure_to_rank(begun), reverse=True)
    if not begun:
        widgets.no_runs()
        return []
    names = labels(begun)
    by_id = {run.id[:8]: run for run in begun}
    keys = list(by_id)
    RUN.offer(keys, keys[0])
    OTHER.offer([NONE, *keys])

    def title(key: str) -> str:
        run = by_id[key]
        return " · ".join([names[run.id] or run.name, *([f"best {percent(run.best[1])}"] if run.best else [])])

    run = st.selectbox("Network", keys, format_func=title, key=RUN.widget, help=_about(by_id[RUN.get()]), width=290)
    other = st.selectbox(
        "Compare with",
        [NONE, *keys],
        format_func=lambda key: "no other network" if key == NONE else title(key),
        key=OTHER.widget,
        help="A second network on the same picture; the same one may stand there at another epoch (Layout).",
        width=250,
    )
    chosen = [by_id[key] for key in (run, other) if key != NONE]
    kept = [artifacts.epochs_to_open(each) for each in chosen]
    epoch = _epoch(sorted(set().union(*kept)), chosen[0])
    OTHER_EPOCH.offer([FOLLOW, *map(str, kept[-1])] if len(chosen) > 1 else [FOLLOW])
    if len({each.id for each in chosen}) > 1:
        names |= labels(chosen)  # only what tells the two apart
    result = []
    for side, each, epochs in zip(("run", "other"), chosen, kept, strict=False):
        fixed = OTHER_EPOCH.get() if side == "other" else FOLLOW
        at = recorded.nearest_epoch(epochs, epoch if fixed == FOLLOW else int(fixed))
        result.append(Chosen(side, each, at, tuple(epochs), names[each.id] or each.name))
    return result


def _about(run: Run) -> str:
    said = f"{run.name} · {run.id[:8]}. The best network comes first."
    if run.best:
        epoch, share = run.best
        said += f" Its best epoch was {epoch}, with {percent(share)} of the test pictures right; it was "
        said += f"{leaderboard.chosen_by([run])}."
    return plain(said)


def _epoch(epochs: list[int], run: Run) -> int:
    """The slider over every epoch that one of the networks kept, and its play button."""
    first = recorded.nearest_epoch(epochs, run.best[0]) if run.stopped_early and run.best else epochs[-1]
    epoch = EPOCH.offer(epochs, first)
    if len(epochs) > 1:
        st.select_slider(
            "Epoch",
            epochs,
            key=EPOCH.widget,
            width=170,
            help="Opens at the last epoch that was kept, as training left the network, or at the best one if it "
            "stopped early; 0 is the untrained one. "
            "A network that has not kept this epoch shows its last one before it.",
        )
        epoch = EPOCH.get()
        playing = PLAYING.get()
        st.button(
            "Stop" if playing else "Play",
            icon=":material/stop:" if playing else ":material/play_arrow:",
            key="play",
            on_click=_toggle_play,
            args=(epochs,),
        )
    if PLAYING.get():
        st.fragment(_advance, run_every=SECONDS_A_FRAME)(epochs, epoch)
    return epoch


def _toggle_play(epochs: list[int]) -> None:
    PLAYING.set(not PLAYING.get())
    SHOWN_EPOCH.set(None)
    if PLAYING.get() and EPOCH.get() == epochs[-1]:
        EPOCH.set(epochs[0])


def _advance(epochs: list[int], epoch: int) -> None:
    """The first run, with the page, only notes which epoch is on show; the timed one after it goes on to the next."""
    if SHOWN_EPOCH.get() != epoch:
        SHOWN_EPOCH.set(epoch)
        return
    after = [each for each in epochs if each > epoch]
    if after:
        EPOCH.set(after[0])
    PLAYING.set(len(after) > 1)
    st.rerun(scope="app")


def predictions(one: Chosen, dataset: Dataset) -> Prediction:
    """Of all test pictures, after that epoch: kept on the disk for every page; a bar while they are computed."""
    found = outputs.kept(one.run, one.epoch, dataset)
    if found is not None:
        return found
    bar = st.progress(0.0, "Asking the network about the test pictures …")

    def show(words: str, fraction: float) -> None:
        bar.progress(fraction, words)

    found = outputs.of(one.run, one.epoch, dataset, show)
    bar.empty()
    return found
