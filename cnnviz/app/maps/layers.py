"""One or two networks as one diagram: what every layer makes of the picture, on colours that can be compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from cnnviz import wording
from cnnviz.app.components.diagram import Column, Item, Row, Share, diagram
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked, ranges
from cnnviz.app.maps.selection import close_channel, selected, toggle_channel
from cnnviz.app.state import flag_key, text_key
from cnnviz.architectures import SATURATING, Architecture
from cnnviz.data import Dataset
from cnnviz.inspection import matching
from cnnviz.inspection.feeds import Feed, feeds
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
from cnnviz.render.maps import atlas, caption, verdict

SCALES = {
    "locked": "locked over networks and epochs",
    "layer": "per layer",
    "channel": "per channel",
}
SCALE = text_key("scale", "locked")
BEFORE = flag_key("before")
KEYS = (SCALE, BEFORE)
SIGNS = (  # besides ✕, which says what it means
    "∅ zero all over",
    "= one value all over",
    "▮ share of its cells where the activation is flat (saturated)",
)
Scales = Scale | list[Scale]
Maps = dict[str, LayerMaps]
Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class Shown:
    """What a network makes of the picture, as it is on show."""

    one: Looked
    maps: Maps
    scales: dict[str, Scales]  # by the steps on show, in order

    @property
    def prediction(self) -> Prediction:
        return Prediction(self.maps[self.one.run.architecture.layers[-1].name].values)

    def scale_of(self, step: str, channel: int) -> Scale:
        scale = self.scales[step]
        return scale if isinstance(scale, Scale) else scale[channel % len(scale)]

    def panel(self, choice: Choice, classes: Sequence[str]) -> NetworkPanel:
        """For a file."""
        text = caption(self.prediction, 0, choice.label, classes)
        layers = [(self.maps[step], scale) for step, scale in self.scales.items()]
        return NetworkPanel(f"{self.one.title}, {choice.name}", choice.pixels, text, layers)


def draw(looked: list[Looked], choice: Choice, dataset: Dataset) -> list[Shown]:
    """Draw the diagram; what it shows comes back."""
    mode, before = SCALE.offer(SCALES), BEFORE.offer((False, True))
    every = [activations(one.network, choice.pixels[None]) for one in looked]
    spans = [ranges(one, choice.pixels) for one in looked] if mode == "locked" else []
    pairs = pairs_of([one.run.architecture for one in looked], before)
    scales = [_scales(mode, pair, every, spans) for pair in pairs]
    shown = []
    for index, (one, maps) in enumerate(zip(looked, every, strict=True)):
        its = [(pair[index], scale[index]) for pair, scale in zip(pairs, scales, strict=True)]
        shown.append(Shown(one, maps, {step: scale for step, scale in its if step and scale}))
    chosen = selected()
    diagram(
        f"{choice.name} from layer to layer",
        Image.fromarray(choice.pixels.numpy()),
        f"{choice.name}, as the network sees it",
        [_row(shown, index, pairs, choice, dataset.classes) for index in range(len(shown))],
        _kinds(shown),
        _notes(shown),
        (chosen.side, chosen.step, chosen.channel) if chosen else None,
        key="diagram",
        on_pick=toggle_channel,
        on_close=close_channel,
    )
    return shown


def pairs_of(archs: list[Architecture], before: bool) -> list[Pair]:
    """The steps on show, column by column; `before`: those before an activation too."""
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
    return None if arch.layer(step).is_activated else step


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


def _kinds(shown: Sequence[Shown]) -> list[Scale]:
    """One of each kind of colours that occurs, an example of its bar."""
    every = [scale for each in shown for scale in each.scales.values()]
    flat = [scale if isinstance(scale, Scale) else scale[0] for scale in every]
    kinds = {scale.signed: Scale(-1.0 if scale.signed else 0.0, 1.0, scale.signed) for scale in flat}
    return [kinds[signed] for signed in sorted(kinds, reverse=True)]


def _notes(shown: Sequence[Shown]) -> list[str]:
    notes = []
    for each in shown:
        whose = f"{each.one.short}: " if len(shown) > 1 else ""
        if not bool(each.prediction.logits.isfinite().all()):
            notes.append(f"{whose}This network diverged: its logits are not finite (magenta). Choose an earlier epoch.")
        elif each.one.at_chance:
            notes.append(f"{whose}At chance level after this epoch: its probabilities say nothing about the picture.")
        elif each.one.run.config.loss == "mse":
            notes.append(
                f"{whose}Trained with MSE, its logits aim at 0 and 1: the probabilities stay flat even when it is sure."
            )
    return notes + _signs(shown)


def _signs(shown: Sequence[Shown]) -> list[str]:
    """What the signs on the maps mean, of those that are there."""
    facts = [fact for each in shown for step in each.scales for fact in _facts(each, step)]
    there = [words for words in SIGNS if any(_badge(fact).startswith(words[0]) for fact in facts)]
    return ["On the maps: " + " · ".join(there)] if there else []


def _row(shown: Sequence[Shown], index: int, pairs: Sequence[Pair], choice: Choice, classes: Sequence[str]) -> Row:
    its = shown[index]
    made = feeds(its.one.network, choice.pixels, its.maps)
    prediction = its.prediction
    said = verdict(prediction, 0, choice.label, classes)
    changed = [f"{wording.count(len(its.one.changes), 'channel')} changed"] if its.one.changes else []
    finite = bool(prediction.logits.isfinite().all())
    best = int(prediction.classes[0]) if finite else None
    marks = {best: "✓ right" if best == choice.label else "✗ predicted"} if choice.label is not None else {}
    if choice.label is not None and best != choice.label:
        marks[choice.label] = "• true"
    shares = [
        Share(name, value if finite else None, marks.get(place, ""))
        for place, (name, value) in enumerate(zip(classes, prediction.probabilities[0].tolist(), strict=True))
    ]
    return Row(
        its.one.side,
        " · ".join([its.one.short, f"epoch {its.one.epoch}", *changed]),
        its.one.title,
        [None if (step := pair[index]) is None else _column(shown, index, pair, step, made, classes) for pair in pairs],
        said,
        caption(prediction, 0, choice.label, classes),
        shares,
    )


def _column(
    shown: Sequence[Shown], index: int, pair: Pair, step: str, made: dict[str, Feed], classes: Sequence[str]
) -> Column:
    its, one = shown[index], shown[index].one
    maps, layer, scale = its.maps[step], its.maps[step].layer, its.scales[step]
    values = maps.values[0]
    is_last = layer == one.run.architecture.layers[-1]
    facts = _facts(its, step)
    is_before = step == layer.name and layer.is_activated
    name = f"{layer.name} before" if is_before else layer.name
    if layer.shortcut:
        name += f" · + {layer.shortcut}"
    extent = f"{_number(maps.low)} to {_number(maps.high)}" if bool(values.isfinite().any()) else "not finite"
    help_ = [f"{layer.name}: {_words(one, step)}", f"values on this picture: {extent}"]
    help_ += [text for text in (_sentence(facts), _difference(shown, index, pair)) if text]
    return Column(
        step,
        name,
        _range(scale.low, scale.high) if isinstance(scale, Scale) else "each its own",
        ". ".join(help_),
        atlas(values, scale),
        values.shape[-1] if values.ndim == 3 else 1,
        _items(maps, facts, classes if is_last else ()),
        # Where the maps before the activation are not on show, those behind it are fed by what feeds them.
        made[step if step == layer.name or layer.name in its.scales else layer.name],
    )


def _facts(its: Shown, step: str) -> list[ChannelFacts]:
    """Of each channel of a convolution or block that an activation follows."""
    layer, activation = its.maps[step].layer, its.one.run.config.activation
    if not layer.is_activated or len(layer.output) < 3:
        return []
    facts = channel_facts(its.maps[layer.name], activation)
    # a ReLU's zeros are how it works
    return list(facts) if activation in SATURATING else [replace(fact, saturated=0.0) for fact in facts]


def _number(value: float) -> str:
    """
    >>> _number(-1.7159), _number(0.0), _number(51_873.0)
    ('−1.7', '0', '52,000')
    """
    if 100 <= abs(value) < 1e6:
        return f"{float(f'{value:.2g}'):,.0f}".replace("-", "−")
    return f"{value:.2g}".replace("-", "−")


def _range(low: float, high: float) -> str:
    """
    >>> _range(7.8e-14, 1.0), _range(-0.5, 0.5)
    ('0 to 1', '−0.5 to 0.5')
    """
    least = max(abs(low), abs(high)) / 1000  # less is nothing beside the other end
    return " to ".join(_number(value if abs(value) >= least else 0.0) for value in (low, high))


def _words(one: Looked, step: str) -> str:
    """What a step is: "convolution, after tanh, 16×10×10"."""
    layer = one.run.architecture.layer(layer_name(step))
    shape = "×".join(map(str, layer.output))
    if layer.kind == "pooling":
        return f"{one.run.config.pooling} pooling, {shape}"
    if layer.kind == "global average pooling":
        return f"{layer.kind}, {shape}"
    if not layer.is_activated and layer.kind == "convolution":
        return f"{layer.kind}, before the block's sum, {shape}"
    when = f"{'before' if step == layer.name else 'after'} {one.run.config.activation}"
    kind = f"sum of the block's maps and those of {layer.shortcut}" if layer.shortcut else layer.kind
    return f"{kind}, {'logits' if layer == one.run.architecture.layers[-1] else when}, {shape}"


def _items(maps: LayerMaps, facts: Sequence[ChannelFacts], names: Sequence[str]) -> list[Item]:
    values = maps.values[0]
    layer = maps.layer.name
    if values.ndim == 1:
        if not names:
            return [Item(f"{layer} unit {index}: {value:.4g}") for index, value in enumerate(values.tolist())]
        shares = values.softmax(0).tolist()
        return [
            Item(f"{name}: {wording.percent(share)}, logit {value:.4g}")
            for name, share, value in zip(names, shares, values.tolist(), strict=True)
        ]
    lows, highs = (end.tolist() for end in (values.amin((1, 2)), values.amax((1, 2))))
    items = []
    for channel, (low, high) in enumerate(zip(lows, highs, strict=True)):
        fact = facts[channel] if facts else None
        title = [f"{layer} channel {channel}: {low:.3g} to {high:.3g}", *(fact.badges if fact else ())]
        items.append(Item("; ".join(title), _badge(fact) if fact else ""))
    return items


def _badge(fact: ChannelFacts) -> str:
    if fact.diverged:
        return "✕ NaN"
    if fact.dead:
        return "∅"
    if fact.constant:
        return "="
    return f"▮ {wording.percent(fact.saturated, 0)}" if fact.saturated >= 0.5 else ""


def _sentence(facts: Sequence[ChannelFacts]) -> str:
    """What the badges say, for the layer as a whole."""
    counts = {
        "✕ not finite": sum(fact.diverged for fact in facts),
        "∅ zero": sum(fact.dead for fact in facts),
        "= one value all over": sum(fact.constant and not fact.dead for fact in facts),
        "▮ at least half saturated": sum(fact.saturated >= 0.5 and not fact.dead for fact in facts),
    }
    words = [f"{count} {what}" for what, count in counts.items() if count]
    return f"Of {len(facts)} channels: {', '.join(words)}" if words else ""


def _difference(shown: Sequence[Shown], index: int, pair: Pair) -> str:
    """How much a map varies in this network, and in the one beside it."""
    spreads = [each.maps[step].spread if step else math.nan for each, step in zip(shown, pair, strict=False)]
    here = spreads[index]
    if not math.isfinite(here):
        return ""
    step = pair[index]
    unit = (
        "within a map from cell to cell" if step and shown[index].maps[step].values.ndim == 4 else "from unit to unit"
    )
    text = f"Spread (standard deviation {unit}): {here:.3g}"
    others = [spread for place, spread in enumerate(spreads) if place != index and spread > 0]
    if others and here > 0:
        text += f", {here / others[0]:,.3g} times the other network's"
    return text
