"""One picture in one network after every epoch so far: kernels, maps, prediction."""

import html
from collections.abc import Callable, Sequence

import streamlit as st
import torch
from PIL import Image

from cnnviz import data, paths
from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import ABOVE_CHANCE
from cnnviz.app import widgets
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot, number_key, optional_key
from cnnviz.data import Dataset
from cnnviz.errors import CheckpointError, CnnvizError
from cnnviz.inspection import recorded
from cnnviz.inspection.film import Frame, frame
from cnnviz.render import film as render
from cnnviz.render.colours import Scale
from cnnviz.render.exports import data_address
from cnnviz.store import addresses, artifacts
from cnnviz.store.runs import Run
from cnnviz.wording import percent

RUN = optional_key("film")
PICTURE = number_key("film_picture", 7)
_FIRST_BEST = Slot("film_first_best", "")
FIRST = "The first frame comes with the untrained network."
FRAME, LARGE_FRAME = 132, 210  # pixels a frame is wide


def film(runs: Sequence[Run], best: Run | None, update: Callable[[], object], controls: bool = True) -> None:
    """The film with its controls below; best: the run that leads."""
    by_id = {run.id[:8]: run for run in runs}
    if best and best.accuracy[-1] > ABOVE_CHANCE and _FIRST_BEST.get() not in by_id:
        _FIRST_BEST.set(best.id[:8])  # and not whichever leads now: the film would jump
    RUN.offer(by_id, _FIRST_BEST.offer([*by_id, ""]) or next(iter(by_id)))
    run = by_id[RUN.get() or next(iter(by_id))]
    names = labels(runs)
    if not controls:
        st.caption(plain(f"One picture in {names[run.id]}, epoch by epoch"))
    place = st.container()
    if controls:

        def changed() -> None:
            update()

        row = st.container(horizontal=True, vertical_alignment="bottom")
        row.selectbox(
            "Film of",
            list(by_id),
            format_func=lambda key: names[by_id[key].id],
            key=RUN.widget,
            on_change=changed,
            width=300,
        )
        PICTURE.offer(range(10_000))
        row.number_input("Test picture", 0, 9_999, key=PICTURE.widget, on_change=changed, width=150)
    with place:
        try:
            st.html(_strip(run, PICTURE.get(), FRAME if controls else LARGE_FRAME))
        except CnnvizError as error:
            st.caption(plain(f"No film: {error}."))


def _strip(run: Run, number: int, width: int) -> str:
    torch.set_num_threads(1)  # more would only wait for the cores that train
    uri = addresses.tracking_uri()
    if not (epochs := _epochs(uri, run.id, run.epoch, run)):  # nor may there be any pictures yet
        return _film(run, width, f"<figure><figcaption>{FIRST}</figcaption></figure>")
    dataset = _test_set(run.config.dataset, str(paths.data_root()))
    number = min(number, len(dataset.test_labels) - 1)
    truth, theme = dataset.classes[int(dataset.test_labels[number])], widgets.theme()
    frames = []
    for epoch in epochs:
        try:
            frames.append(_frame(uri, run.id, epoch, run.config.dataset, number, run, dataset))
        except CheckpointError:  # thinned out since
            continue
    scale, limit = render.map_scale(frames), render.kernel_limit(frames)
    parts = [_drawn(uri, run.id, number, each.epoch, scale, limit, theme.paper, each) for each in frames]
    said = [_figure(each, part, run, dataset, number) for each, part in zip(frames, parts, strict=True)]
    picture = data_address(Image.fromarray(widgets.enlarge(dataset.test_images[number], 2)))
    head = (
        f'<figure class="picture"><img class="kernels" src="{picture}" alt="Test picture {number}, {truth}">'
        f"<figcaption>test picture {number}<br><b>{html.escape(truth)}</b></figcaption></figure>"
    )
    return _film(run, width, "".join(reversed(said)) + head)


def _film(run: Run, width: int, figures: str) -> str:
    tall = round(1.15 * width) + 60
    return (
        f'<div class="watching-film" style="--frame:{width}px;min-height:{tall}px" tabindex="0" role="group" '
        f'aria-label="{html.escape(run.name)}, epoch by epoch">{figures}</div>'
    )


def _figure(each: Frame, pictures: tuple[str, str] | None, run: Run, dataset: Dataset, number: int) -> str:
    if each.predicted is None:
        words = "✗ no prediction (diverged)"
    else:
        right = each.predicted == int(dataset.test_labels[number])
        sure = f" {percent(each.probability, 0)}" if run.config.loss == "cross_entropy" else ""
        words = f"{'✓' if right else '✗'} {dataset.classes[each.predicted]}{sure}"
    images = ""
    if pictures:
        images = (
            f'<img class="kernels" src="{pictures[0]}" alt="First-layer kernels after epoch {each.epoch}">'
            f'<img src="{pictures[1]}" alt="First-layer maps after epoch {each.epoch}">'
        )
    name = f"epoch {each.epoch}" if each.epoch else "untrained"
    return f"<figure>{images}<figcaption>{name}<br><b>{html.escape(words)}</b></figcaption></figure>"


@st.cache_resource(max_entries=2, show_spinner=False)
def _test_set(name: str, root: str) -> Dataset:
    return data.load_test(name)


@st.cache_data(max_entries=256, show_spinner=False)
def _epochs(uri: str, run_id: str, epoch: int, _run: Run) -> list[int]:
    return [each for each in artifacts.checkpoint_epochs(run_id) if each <= epoch]


@st.cache_resource(max_entries=2048, show_spinner=False)
def _frame(uri: str, run_id: str, epoch: int, name: str, number: int, _run: Run, _dataset: Dataset) -> Frame:
    return frame(recorded.load(_run, epoch), epoch, _dataset.test_images[number])


@st.cache_data(max_entries=1024, show_spinner=False)
def _drawn(
    uri: str,
    run_id: str,
    number: int,
    epoch: int,
    scale: Scale,
    limit: float,
    paper: tuple[int, int, int],
    _frame: Frame,
) -> tuple[str, str] | None:
    """Kernels and maps as addresses; None without a convolution."""
    if _frame.maps is None:
        return None
    return data_address(render.kernels(_frame, limit, paper)), data_address(render.maps(_frame, scale, paper))
