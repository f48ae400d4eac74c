"""Inside the networks: ten pictures at the last convolution, good against stalled, kernels."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import accuracy
from cnnviz.data import Dataset
from cnnviz.inspection.network import LayerMaps, Network, Prediction, activations, last_maps, layer_name
from cnnviz.render import kernels as kernel_sheets
from cnnviz.render.colours import LIGHT, Scale, colour
from cnnviz.render.maps import title_of
from cnnviz.render.report.pieces import Figure, Figures, Heading, Piece, Text
from cnnviz.render.report.sources import Sources, best, worst
from cnnviz.store.runs import Run

MOST_STEPS = 21  # epochs on a slider
MOST_CELLS = 700_000  # of all maps of a slider together: bounds the file
MOST_MAPS = 16  # of a layer
COLUMNS = 8  # maps in a row
UNITS = 30  # units in a row


def pictures(sources: Sources) -> Iterator[Piece]:
    """Ten pictures, one of each class, and what the best network's last convolution makes of them."""
    run = best(sources.of_part("1a"))
    if run is not None:
        yield from ten(sources, run)


def ten(sources: Sources, run: Run) -> Iterator[Piece]:
    dataset, kept = sources.dataset(run), sources.epochs(run)
    name = last_maps(run.architecture)
    if not name:
        yield Text(f"{run.name} has no convolution.", "note")
        return
    layer = run.architecture.layer(layer_name(name))
    chosen = one_of_each(dataset)
    images = dataset.test_images[chosen]
    cells = len(chosen) * min(layer.output[0], MOST_MAPS) * layer.output[1] * layer.output[2]
    epochs = spread(kept, max(1, min(MOST_STEPS, MOST_CELLS // cells)))
    seen: list[tuple[LayerMaps, Prediction]] = []
    for epoch in epochs:
        every = activations(sources.network(run, epoch), images)
        seen.append((every[name], Prediction(list(every.values())[-1].values)))
    scale = Scale.of([maps for maps, _ in seen])
    more = f"the first {MOST_MAPS} of " if layer.output[0] > MOST_MAPS else ""
    what = title_of(sources.network(run, epochs[-1]), seen[-1][0]).split(": ", 1)[1]
    yield Text(
        f"{run.name}, epoch {epochs[-1]}: {more}{what}. One colour scale for all pictures and epochs, "
        f"{in_numbers(scale)}."
    )
    figures = []
    for place, index in enumerate(chosen):
        label = int(dataset.test_labels[index])
        captions = [said(prediction, place, label, dataset.classes) for _, prediction in seen]
        maps = [mosaic(found.values[place, :MOST_MAPS], scale, COLUMNS) for found, _ in seen]
        name_of = f"test picture {index}, of class {dataset.classes[label]}, and its feature maps"
        figures.append(
            Figure(maps, captions, name_of, Image.fromarray(images[place].numpy()), 4 if layer.output[1] < 14 else 2)
        )
    yield Figures(figures, [f"epoch {epoch}" for epoch in epochs])


def contrast(sources: Sources) -> Iterator[Piece]:
    """One picture in a network that learned and in one that did not, layer by layer, on one scale a layer."""
    good = best(sources.of_part("1a"))
    bad = worst(sources.of_part("1a"), good) if good else None
    if good is None or bad is None:
        yield Text("It takes two networks of the same architecture: train another.", "missing")
        return
    dataset, names = sources.dataset(good), labels([good, bad])
    networks = [sources.network(run, sources.epochs(run)[-1]) for run in (good, bad)]
    index = first_right(networks[0], dataset)
    image, label = dataset.test_images[index : index + 1], int(dataset.test_labels[index])
    every = [activations(network, image) for network in networks]
    words = [said(Prediction(list(each.values())[-1].values), 0, label, dataset.classes) for each in every]
    sides = [f"{names[run.id]}, {accuracy(run.best_accuracy)} at best" for run in (good, bad)]
    figures = [
        Figure([Image.fromarray(image[0].numpy())], [f"{side}: {word}"], f"test picture {index}", zoom=4)
        for side, word in zip(sides, words, strict=True)
    ]
    yield Text(f"Test picture {index}, {dataset.classes[label]}. Left {sides[0]}; right {sides[1]}.")
    yield Figures(figures)
    for name, maps in every[0].items():
        if name in (layer.name for layer in good.architecture.weight_layers[:-1]):
            continue  # before its activation
        pair = [maps, every[1][name]]
        scale = Scale.of(pair)
        yield Heading(f"{title_of(networks[0], maps).split(': ', 1)[1]}; {in_numbers(scale)}")
        yield Figures(
            [
                Figure([drawn(each, scale)], [_varies(each)], f"{side}: {name}", zoom=zoom(each))
                for each, side in zip(pair, sides, strict=True)
            ]
        )


def kernels(sources: Sources) -> Iterator[Piece]:
    """The first layer's kernels of the best and the worst network, epoch by epoch, on one scale."""
    good = best(sources.of_part("1a"))
    if good is None or not good.architecture.conv_layers:
        return
    bad = worst(sources.of_part("1a"), good)
    name = good.architecture.conv_layers[0].name
    shown: list[tuple[Run, list[int], list[tuple[Tensor, Tensor]]]] = []
    for run in (good, *([bad] if bad else [])):
        epochs = spread(sources.epochs(run), MOST_STEPS)
        layers = [sources.network(run, epoch).module.get_submodule(name) for epoch in epochs]
        shown.append((run, epochs, [(layer.weight.detach(), layer.bias.detach()) for layer in layers]))  # type: ignore[operator]
    limit = kernel_sheets.common_limit([weights for _, _, found in shown for weights, _ in found])
    names = labels([run for run, _, _ in shown])
    yield Text(f"A kernel's colours are those it answers to; grey is zero, full colour a weight of {limit:.2g} in all.")
    alike = len({tuple(epochs) for _, epochs, _ in shown}) == 1
    figures = []
    for run, epochs, found in shown:
        some = list(zip(epochs, found, strict=True)) if alike else [(epochs[-1], found[-1])]
        sheets = [kernel_sheets.sheet(*each, [limit] * len(each[0]), LIGHT, 420) for _, each in some]
        captions = [f"{names[run.id]}, epoch {epoch}" for epoch, _ in some]
        figures.append(Figure(sheets, captions, f"kernels of {name} of {names[run.id]}"))
    yield Figures(figures, [f"epoch {epoch}" for epoch in shown[0][1]] if alike else ("",))


# -- what they share -------------------------------------------------------------------------------


def one_of_each(dataset: Dataset) -> list[int]:
    """The first test picture of each class."""
    labels_ = dataset.test_labels
    return [int((labels_ == label).nonzero()[0]) for label in range(len(dataset.classes)) if (labels_ == label).any()]


def first_right(network: Network, dataset: Dataset) -> int:
    """The first test picture that the network gets right; the first one if there is none among many."""
    every = activations(network, dataset.test_images[:250])
    right = Prediction(list(every.values())[-1].values).classes == dataset.test_labels[:250]
    return int(right.nonzero()[0]) if right.any() else 0


def said(prediction: Prediction, place: int, label: int, classes: Sequence[str]) -> str:
    """ "predicted: 9 truck (83 %) · true: 1 automobile ✗"."""
    if not bool(prediction.decided[place]):
        return f"no prediction, the logits are not finite · true: {label} {classes[label]} ✗"
    found = int(prediction.classes[place])
    sure = f"{100 * float(prediction.confidence[place]):.0f} %"
    mark = "✓" if found == label else "✗"
    return f"predicted: {found} {classes[found]} ({sure}) · true: {label} {classes[label]} {mark}"


def spread(epochs: Sequence[int], most: int) -> list[int]:
    """At most so many of the epochs, the first and the last among them."""
    if most == 1:
        return [epochs[-1]]
    places = np.linspace(0, len(epochs) - 1, min(most, len(epochs)))
    return [epochs[round(place)] for place in places]


def in_numbers(scale: Scale) -> str:
    if scale.signed:
        return f"blue {scale.low:.2g} to red {scale.high:.2g}, white is 0"
    return f"dark {scale.low:.2g} to bright {scale.high:.2g}"


def drawn(maps: LayerMaps, scale: Scale) -> Image.Image:
    values = maps.values[0]
    return (
        mosaic(values[:MOST_MAPS], scale, COLUMNS) if values.ndim == 3 else mosaic(values.view(-1, 1, 1), scale, UNITS)
    )


def zoom(maps: LayerMaps) -> int:
    if maps.values.ndim == 2:
        return 10
    return max(1, round(44 / maps.values.shape[-1]))


def mosaic(values: Tensor, scale: Scale, columns: int) -> Image.Image:
    """Maps (count, height, width) in rows, a pixel a cell, with a gap of one pixel."""
    pixels = colour(values, scale)
    count, tall, wide = pixels.shape[:3]
    rows = -(-count // columns)
    paper = np.full((rows * (tall + 1) - 1, min(count, columns) * (wide + 1) - 1, 3), 255, np.uint8)
    for place, each in enumerate(pixels):
        top, left = place // columns * (tall + 1), place % columns * (wide + 1)
        paper[top : top + tall, left : left + wide] = each
    return Image.fromarray(paper)


def _varies(maps: LayerMaps) -> str:
    what = "cell to cell" if maps.values.ndim == 4 else "unit to unit"
    return f"varies by {maps.spread:.2g} from {what}"
