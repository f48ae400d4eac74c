"""Every layer's maps of one picture, in one network or two side by side."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps.channel import detail
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked, ranges
from cnnviz.app.maps.selection import selected, toggle_channel
from cnnviz.app.markdown import plain
from cnnviz.app.state import flag_key, text_key
from cnnviz.app.widgets import theme
from cnnviz.architectures import Architecture
from cnnviz.data import Dataset
from cnnviz.inspection import matching
from cnnviz.inspection.network import (
    ChannelFacts,
    LayerMaps,
    Prediction,
    activations,
    channel_facts,
    layer_name,
    step_names,
)
from cnnviz.render.colours import Scale, by_channel
from cnnviz.render.exports import NetworkPanel
from cnnviz.render.maps import FEW, MAP_SIDE, UNIT_SIDE, atlas, caption, legend

SCALES = {
    "locked": "locked over networks and epochs",
    "layer": "one a layer and network",
    "channel": "one a channel",
}
SCALE = text_key("scale", "locked")
BEFORE = flag_key("before")
KEYS = (SCALE, BEFORE)
SATURATING = ("sigmoid", "tanh")
Scales = Scale | list[Scale]
Maps = dict[str, LayerMaps]
Pair = tuple[str | None, str | None]


def draw(looked: list[Looked], choice: Choice, dataset: Dataset) -> list[tuple[Looked, NetworkPanel]]:
    """Draw them; what is on show comes back, to be exported."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    SCALE.offer(SCALES)
    mode = row.segmented_control(
        "Colour scale",
        list(SCALES),
        format_func=SCALES.__getitem__,
        required=True,
        key=SCALE.widget,
        help="On a locked scale one colour means one value in both networks and at every epoch: grey is measured grey.",
    )
    BEFORE.offer((False, True))
    before = row.toggle("Values before the activation too", key=BEFORE.widget)
    every = [activations(one.network, choice.pixels[None]) for one in looked]
    spans = [ranges(one, choice.pixels) for one in looked] if mode == "locked" else []
    shown: list[list[tuple[LayerMaps, Scales]]] = [[] for _ in looked]
    later: list[Callable[[], None]] = []
    for pair in pairs_of([one.run.architecture for one in looked], before):
        scales = _scales(str(mode), pair, every, spans)
        columns = st.columns(len(looked))
        for one, column, step, maps, scale, kept in zip(looked, columns, pair, every, scales, shown, strict=False):
            if step is not None and scale is not None:
                kept.append((maps[step], scale))
                with column:
                    _layer(one, maps, step, scale, dataset.classes)
        _difference(looked, pair, every)
        later += _chosen(looked, pair, every, scales, choice, dataset)
    for finish in later:
        finish()
    texts = [_text(one, maps, choice, dataset.classes) for one, maps in zip(looked, every, strict=True)]
    panels = [
        NetworkPanel(f"{one.title}, {choice.name}", choice.pixels, text, kept)
        for one, text, kept in zip(looked, texts, shown, strict=True)
    ]
    return list(zip(looked, panels, strict=True))


def _text(one: Looked, maps: Maps, choice: Choice, classes: Sequence[str]) -> str:
    prediction = Prediction(maps[one.run.architecture.layers[-1].name].values)
    return caption(prediction, 0, choice.label, classes)


def pairs_of(archs: list[Architecture], before: bool) -> list[Pair]:
    """The steps on show, row by row; `before`: those before an activation too."""
    pairs: list[Pair] = [(step, None) for step in step_names(archs[0])]
    if len(archs) > 1:
        pairs = matching.paired_steps(*archs)
    found = []
    for pair in pairs:
        steps = [_on_show(arch, step, before) for arch, step in zip(archs, pair, strict=False)]
        if any(steps):
            found.append((steps[0], steps[1] if len(steps) > 1 else None))
    return found


def _on_show(arch: Architecture, step: str | None, before: bool) -> str | None:
    if step is None or before or step != layer_name(step):
        return step
    layer = arch.layer(step)
    return step if layer.kind == "pooling" or layer == arch.layers[-1] else None


def _scales(
    mode: str, pair: Pair, every: list[Maps], spans: list[dict[str, tuple[float, float]]]
) -> list[Scales | None]:
    here = [None if step is None else maps[step] for step, maps in zip(pair, every, strict=False)]
    if mode == "channel":
        return [None if maps is None else by_channel(maps.values[0]) for maps in here]
    if mode == "layer":
        return [None if maps is None else Scale.of([maps]) for maps in here]
    # The maps on show belong to it too: a changed channel may drive them beyond what training ever did.
    known = [its[step] for step, its in zip(pair, spans, strict=False) if step]
    known += [(maps.low, maps.high) for maps in here if maps]
    finite = [None if maps is None else bool(maps.values.isfinite().all()) for maps in here]
    return [None if its is None else Scale.spanning(known, its) for its in finite]


def _layer(one: Looked, every: Maps, step: str, scale: Scales, classes: Sequence[str]) -> None:
    maps = every[step]
    layer, arch = maps.layer, one.run.architecture
    extent = f"{maps.low:.3g} to {maps.high:.3g}" if bool(maps.values.isfinite().any()) else "not finite"
    st.markdown(f"**{layer.name}** · {_words(one, step)} · {plain(extent)}")
    values = maps.values[0]
    facts: Sequence[ChannelFacts] = ()
    if layer.kind == "convolution":
        facts = channel_facts(every[layer.name], one.run.config.activation)
        if one.run.config.activation not in SATURATING:  # a ReLU's zeros are how it works
            facts = [replace(fact, saturated=0.0) for fact in facts]
    chosen = selected()
    here = chosen is not None and (chosen.side, chosen.step) == (one.side, step)
    if values.ndim == 3:
        size = (values.shape[2], values.shape[1])
        zoom = max(1, round(MAP_SIDE / max(size)))
    else:
        size, zoom = (1, 1), 2 * UNIT_SIDE if len(values) <= FEW else UNIT_SIDE
    tiles(
        f"{'Maps' if values.ndim == 3 else 'Units'} of {step} of {one.title}",
        atlas(values, scale),
        size,
        zoom,
        _items(maps, facts, classes if layer == arch.layers[-1] else ()),
        key=f"maps {one.side} {step}",
        on_pick=partial(toggle_channel, one.side, step),
        selected=chosen.channel if here and chosen is not None else None,
        dense=values.ndim == 1 and len(values) > FEW,
    )
    if isinstance(scale, Scale):
        st.image(legend(scale, theme()), alt=f"Colours from {scale.low:.3g} to {scale.high:.3g}")
    _sentence(facts)


def _words(one: Looked, step: str) -> str:
    """What a step is: "convolution, after tanh · 16×10×10"."""
    layer = one.run.architecture.layer(layer_name(step))
    shape = "×".join(map(str, layer.output))
    if layer.kind == "pooling":
        return f"{one.run.config.pooling} pooling · {shape}"
    when = f"{'before' if step == layer.name else 'after'} {one.run.config.activation}"
    return f"{layer.kind}, {'logits' if layer == one.run.architecture.layers[-1] else when} · {shape}"


def _items(maps: LayerMaps, facts: Sequence[ChannelFacts], names: Sequence[str]) -> list[dict[str, str]]:
    values = maps.values[0]
    if values.ndim == 1:
        words = [names[index] if names else str(index) for index in range(len(values))]
        return [
            {"name": word, "title": f"{word}: {value:.4g}"} for word, value in zip(words, values.tolist(), strict=True)
        ]
    lows, highs = (end.tolist() for end in (values.amin((1, 2)), values.amax((1, 2))))
    items = []
    for channel, (low, high) in enumerate(zip(lows, highs, strict=True)):
        fact = facts[channel] if facts else None
        title = [f"channel {channel}: {low:.3g} to {high:.3g}", *(fact.badges if fact else ())]
        items.append({"name": str(channel), "title": "; ".join(title), "note": _badge(fact) if fact else ""})
    return items


def _badge(fact: ChannelFacts) -> str:
    if fact.diverged:
        return "✕ NaN"
    if fact.dead:
        return "∅ zero"
    if fact.constant:
        return "= const"
    return f"▮ {fact.saturated:.0%}" if fact.saturated >= 0.5 else ""


def _sentence(facts: Sequence[ChannelFacts]) -> None:
    """What the badges say, for the layer as a whole."""
    if not facts:
        return
    counts = {
        "✕ not finite": sum(fact.diverged for fact in facts),
        "∅ zero": sum(fact.dead for fact in facts),
        "= one value all over": sum(fact.constant and not fact.dead for fact in facts),
        "▮ at least half saturated": sum(fact.saturated >= 0.5 and not fact.dead for fact in facts),
    }
    words = [f"{count} {what}" for what, count in counts.items() if count]
    if words:
        st.caption(plain(f"Of {len(facts)} channels on this picture: {', '.join(words)}."))


def _difference(looked: list[Looked], pair: Pair, every: list[Maps]) -> None:
    """The difference in spread between two networks' maps, as a number."""
    if len(looked) < 2 or pair[0] is None or pair[1] is None:
        return
    first, second = (maps[step].spread for step, maps in zip(pair, every, strict=True) if step)
    left, right = (f"{spread:.3g}" if math.isfinite(spread) else "not finite" for spread in (first, second))
    text = f"Spread of {pair[0].replace('_', ', ')}: {left} on the left, {right} on the right"
    if first > 0 and second > 0:
        larger, factor = ("left", first / second) if first >= second else ("right", second / first)
        text += f": {factor:,.3g} times as much on the {larger}"
    unit = "within a map from cell to cell" if every[0][pair[0]].values.ndim == 4 else "from unit to unit"
    st.caption(plain(f"{text} (standard deviation {unit})."))


def _chosen(
    looked: list[Looked], pair: Pair, every: list[Maps], scales: list[Scales | None], choice: Choice, dataset: Dataset
) -> list[Callable[[], None]]:
    """The detail of the channel that was clicked, beneath its layer; what remains to be done of it comes back."""
    chosen, later = selected(), []
    for one, step, maps, scale in zip(looked, pair, every, scales, strict=False):
        if step is None or scale is None or chosen is None or (chosen.side, chosen.step) != (one.side, step):
            continue
        if chosen.channel < maps[step].layer.output[0]:
            own = scale if isinstance(scale, Scale) else scale[chosen.channel % len(scale)]
            later.append(detail(one, maps[step], chosen.channel, own, choice, dataset))
    return later
