"""A network in training mode beside evaluation mode: what masks and the statistics of a batch do to the picture."""

import pandas as pd
import streamlit as st
from torch import Tensor

from cnnviz.app.maps import selection
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked
from cnnviz.app.markdown import plain
from cnnviz.app.state import number_key, text_key
from cnnviz.app.widgets import theme
from cnnviz.data import Dataset
from cnnviz.inspection.network import layer_name
from cnnviz.inspection.training_mode import Spread, Statistics, Step, TrainingMode, has_modes, layers_of
from cnnviz.render import network_charts, training_words
from cnnviz.render.colours import Scale
from cnnviz.render.maps import legend, tile
from cnnviz.store import artifacts

STEP = number_key("step", 1)
WHERE = text_key("training_layer")  # "fc5 dropout"
KEYS = (STEP, WHERE)
WIDTH = 520  # pixels of one of two pictures


def training_mode(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    """Of every network that has such a mode; a change to its channels is left out."""
    having = [one for one in looked if has_modes(one.run.config)]
    steps = range(1, min(_most_steps(one) for one in having) + 1)
    number = STEP.offer(steps)
    found = [_step(one.key, choice.pixels.numpy().tobytes(), number, one, choice.pixels, dataset) for one in having]
    spreads = [
        _spread(one.key, choice.pixels.numpy().tobytes(), one, choice.pixels) if one.run.config.dropout else None
        for one in having
    ]
    for one, step, spread in zip(having, found, spreads, strict=True):
        whose = f"{plain(one.title)}: " if len(looked) > 1 else ""
        st.markdown(f"**{whose}{plain(training_words.answer(step, spread, choice.label, dataset.classes))}**")
    where = _controls(having, found, steps)
    for one, step, spread in zip(having, found, spreads, strict=True):
        if len(having) > 1:
            st.markdown(f"**{plain(one.title)}**")
        places = {f"{layer} {kind}": (layer, kind, child) for layer, kind, child in layers_of(step)}
        if where in places:
            _layer(one, step, *places[where])
        else:
            st.caption(f"This network has no {where.partition(' ')[2]} behind {where.partition(' ')[0]}.")
        if spread:
            _draw_spread(one, spread, choice, dataset)
    if any(one.changes for one in having):
        st.caption("All of it as trained: what was changed above is left out.")


def _controls(having: list[Looked], found: list[Step], steps: range) -> str:
    """One line: the layer, and another step, whose mask and batch are others."""
    places = list(dict.fromkeys(f"{layer} {kind}" for step in found for layer, kind, _ in layers_of(step)))
    selected = selection.selected()
    its = [place for place in places if selected and place.startswith(f"{layer_name(selected.step)} ")]
    dropping = [place for place in places if place.endswith(" dropout")]
    first = (its or dropping or places)[0]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    WHERE.offer(places, first)
    row.selectbox(
        "Layer",
        places,
        format_func=lambda place: "{}, {}".format(*place.split(" ", 1)),
        key=WHERE.widget,
        width=220,
    )
    row.button(
        "Draw another mask" if WHERE.get().endswith(" dropout") else "Take another batch",
        key="another_step",
        icon=":material/shuffle:",
        on_click=lambda: STEP.set(STEP.get() % len(steps) + 1),
        help="The next step of training has another mask and another batch.",
    )
    step = found[0]
    row.caption(
        f"As step {step.number} of epoch {step.epoch} has it, with this picture in its batch of {step.pictures}."
    )
    return WHERE.get()


def _layer(one: Looked, step: Step, layer: str, kind: str, child: str) -> None:
    """What the layer hands on in both modes, on one scale."""
    evaluated, trained = step.evaluated[child], step.values[child]
    every = [each[each.isfinite()] for each in (evaluated, trained)]
    ranges = [(float(each.min()), float(each.max())) if len(each) else (0.0, 0.0) for each in every]
    scale = Scale.spanning(ranges, all(len(x) == y.numel() for x, y in zip(every, (evaluated, trained), strict=True)))
    mask = step.masks[layer] if kind == "dropout" else None
    names = training_words.pair(kind)
    row = st.container(horizontal=True, gap="medium")
    _maps(row, evaluated, scale, None, f"{layer}: {names[0]}")
    said = training_words.dropped(mask) if mask is not None else ""
    _maps(row, trained, scale, None if mask is None else mask == 0, f"{layer}: {names[1]}", said)
    st.image(legend(scale, theme()), alt=f"Colours from {scale.low:.3g} to {scale.high:.3g}")
    if mask is not None:
        st.caption(training_words.masking(mask, one.run.config.dropout))
    else:
        _statistics(one, next(each for each in step.statistics if each.name == layer))


def _maps(
    row: st.delta_generator.DeltaGenerator,
    values: Tensor,
    scale: Scale,
    dropped: Tensor | None,
    caption: str,
    more: str = "",
) -> None:
    with row.container(width=WIDTH):
        st.caption(caption)
        drawn = tile(values, scale, WIDTH, theme(), dropped)
        st.image(drawn, alt=f"{caption}. {more}".strip())


def _statistics(one: Looked, its: Statistics) -> None:
    st.markdown(training_words.statistics(its))
    row = st.container(horizontal=True, gap="medium")
    figures = [("mean", its.mean, its.running_mean), ("deviation", its.deviation, its.running_deviation)]
    for title, batch, running in figures:
        with row.container(width=300):
            drawn = network_charts.statistics(batch.tolist(), running.tolist(), title)
            alt = f"The batch's {title} over the running one, a point a channel of {its.name}"
            st.altair_chart(drawn, width="stretch", key=f"{title} {its.name} {one.side}", alt=alt)
    columns = {"batch mean": its.mean, "running mean": its.running_mean}
    columns |= {"batch deviation": its.deviation, "running deviation": its.running_deviation}
    frame = pd.DataFrame({name: values.tolist() for name, values in columns.items()})
    frame.insert(0, "channel", range(len(frame)))
    shown = {name: st.column_config.NumberColumn(format="%.3g") for name in columns}
    with st.expander(f"All {len(frame)} channels"):
        st.dataframe(frame, hide_index=True, column_config=shown, alt=f"Statistics of {its.name} by channel")


def _draw_spread(one: Looked, spread: Spread, choice: Choice, dataset: Dataset) -> None:
    masks = len(spread.masked.logits)
    evaluated, masked = spread.evaluated.probabilities[0], spread.masked.probabilities
    st.markdown(f"**The prediction under {masks} masks**")
    if not bool(masked.isfinite().all() and evaluated.isfinite().all()):
        st.caption("Its logits are not finite: choose an earlier epoch.")
        return
    drawn = network_charts.under_masks(dataset.classes, evaluated.tolist(), masked.tolist(), choice.label)
    alt = f"Probabilities of the classes under {masks} masks, and in evaluation mode"
    st.altair_chart(drawn, width="stretch", key=f"masks {one.side}", alt=alt)
    norm = " Batch norm is by its running figures here." if one.run.architecture.batch_norm else ""
    st.caption(f"The spread is a rough measure of the network's uncertainty (Gal, Ghahramani, 2016).{norm}")


@st.cache_data(max_entries=8, show_spinner=False)
def _weights(key: tuple[str, str, int], _one: Looked) -> dict[str, Tensor]:
    return dict(artifacts.load_checkpoint(_one.run, _one.epoch))


def _mode(one: Looked) -> TrainingMode:
    return TrainingMode(one.run.config, _weights(one.key, one), one.epoch)


def _most_steps(one: Looked) -> int:
    return _mode(one).steps


@st.cache_data(max_entries=32, show_spinner="Taking a training step …")
def _step(
    key: tuple[str, str, int], picture: bytes, number: int, _one: Looked, _pixels: Tensor, _dataset: Dataset
) -> Step:
    mode = _mode(_one)
    return mode.step(mode.batch(_dataset, number, _pixels), number)


@st.cache_data(max_entries=32, show_spinner=False)
def _spread(key: tuple[str, str, int], picture: bytes, _one: Looked, _pixels: Tensor) -> Spread:
    return _mode(_one).spread(_pixels)
