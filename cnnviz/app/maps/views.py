"""The other views of a network: why a class, two networks compared, ten pictures."""

from functools import partial

import streamlit as st
import torch
from PIL import Image
from torch import Tensor

from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps import selection
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.layers import pairs_of
from cnnviz.app.maps.looked import Looked
from cnnviz.app.markdown import plain
from cnnviz.app.state import text_key
from cnnviz.app.widgets import enlarge, save_as_png, theme
from cnnviz.architectures import Architecture
from cnnviz.data import Dataset
from cnnviz.inspection import attribution, matching
from cnnviz.inspection.network import last_maps, layer_maps, predict, step_names
from cnnviz.render import network_charts
from cnnviz.render.colours import Scale, colour
from cnnviz.render.exports import captioned
from cnnviz.render.maps import heat, legend, mosaic, sheet

PREDICTED = "predicted"
CAM, OCCLUSION = "Grad-CAM", "Occlusion"

TARGET = text_key("target", PREDICTED)
MATCHED = text_key("matched")
SHEET_LAYER = text_key("sheet_layer")
KEYS = (TARGET, MATCHED, SHEET_LAYER)


def why(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    """Grad-CAM and occlusion for a class."""
    options = [PREDICTED, *map(str, range(len(dataset.classes)))]
    TARGET.offer(options)
    target = st.selectbox(
        "Class",
        options,
        format_func=lambda each: "The predicted one" if each == PREDICTED else f"{each} {dataset.classes[int(each)]}",
        key=TARGET.widget,
        width=220,
    )
    owns = [int(predict(one.network, choice.pixels[None]).classes[0]) for one in looked]
    classes = [own if target == PREDICTED else int(target) for own in owns]
    with st.spinner("Covering the picture patch by patch …"):
        found = [_attributed(one, choice, index) for one, index in zip(looked, classes, strict=True)]
    scales = {what: _signed([each[what] for each in found if what in each]) for what in (CAM, OCCLUSION)}
    for one, index, results, column in zip(looked, classes, found, st.columns(len(looked)), strict=True):
        name = dataset.classes[index]
        zoom = 4 if len(looked) > 1 else 7
        parts = [(choice.name, Image.fromarray(enlarge(choice.pixels, zoom)))]
        for what, values in results.items():
            drawn = heat(choice.pixels, values, scales[what], 32 * zoom)
            parts.append((f"{what}: {_most(values)}", drawn))
        with column:
            st.markdown(f"**{plain(one.title)}**: {name}")
            row = st.container(horizontal=True)
            for caption, picture in parts:
                row.image(picture, caption=caption, alt=f"{caption}, class {name}", width=32 * zoom)
            if CAM not in results:
                st.caption("This network has no convolution, so there is no Grad-CAM of it.")
            title = f"{one.title}, {choice.name}: what speaks for {name}"
            make = partial(captioned, title, parts)
            save_as_png("Save as PNG", make, f"{one.stem}-why", key=f"why {one.side}")
    st.caption(
        "Grad-CAM (Selvaraju et al., 2017) weighs the last convolution's maps by the class's gradient: red speaks for "
        "the class. Occlusion (Zeiler, Fergus, 2014) covers a patch with grey: red is what takes from the class's "
        "probability when it is covered, blue what adds to it. Both by Captum; two networks share one scale."
    )


def _attributed(one: Looked, choice: Choice, target: int) -> dict[str, Tensor]:
    results: dict[str, Tensor] = {}
    if one.run.architecture.conv_layers:
        results[CAM] = attribution.grad_cam(one.network, choice.pixels, target)
    results[OCCLUSION] = attribution.occlusion(one.network, choice.pixels, target)
    return results


def _signed(every: list[Tensor]) -> Scale:
    """One scale around zero for all of them."""
    values = torch.cat([torch.zeros(1), *(x.flatten() for x in every)])
    finite = values[values.isfinite()].abs()
    return Scale(-float(finite.max()), float(finite.max()), True, len(finite) == len(values))


def _most(values: Tensor) -> str:
    finite = values[values.isfinite()]
    return f"up to {float(finite.max()):.3g}" if len(finite) else "not finite"


# -- two networks --------------------------------------------------------------------------------


def compared(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    """Matched channels of a layer, and the similarity of every layer."""
    first, second = looked
    images = dataset.test_images[: matching.PICTURES]
    pairs = [pair for pair in pairs_of([one.run.architecture for one in looked], False) if None not in pair]
    steps = [str(pair[0]) for pair in pairs]
    last = last_maps(first.run.architecture)
    MATCHED.offer(steps, last if last in steps else steps[0])
    step = st.selectbox("Layer", steps, format_func=lambda step: step.replace("_", ", "), key=MATCHED.widget, width=220)
    other = str(dict(pairs)[step])
    found = matching.matched_channels(first.network, second.network, images, (step, other))
    drawn = _matches(looked, (step, other), found, choice)
    st.subheader("Similarity of the layers")
    names = [[name for name in column if name] for column in zip(*pairs, strict=True)]
    with st.spinner("Comparing the layers …"):
        table = matching.cka_table(first.network, second.network, dataset.test_images, (names[0], names[1]))
    words = [[name.replace("_activation", "") for name in column] for column in names]
    pairs_of_figures = zip(words[0], table.values.diag().tolist(), table.errors.diag().tolist(), strict=True)
    each = ", ".join(f"{word} {value:.2f} ± {error:.2f}" for word, value, error in pairs_of_figures)
    st.caption(
        plain(
            f"Linear CKA, debiased (Kornblith et al., 2019; Nguyen et al., 2021), on {table.pictures:,} test pictures; "
            f"1: the same up to rotation and size, about 0: unrelated. Layer by layer, ± standard error: {each}."
        )
    )
    drawn_table = network_charts.similarity(
        words[0], words[1], table.values.tolist(), table.errors.tolist(), (_name(first), _name(second))
    )
    table_of = f"Linear CKA of every layer of {first.title} with every layer of {second.title}"
    st.altair_chart(drawn_table, width="content", key="cka", alt=table_of)
    title = f"{choice.name}, {step.replace('_', ', ')}: matched channels"
    notes = [f"In each pair {first.title}, then {second.title}", f"Linear CKA (debiased), layer by layer: {each}"]
    save_as_png(
        "Save as PNG",
        partial(captioned, title, drawn, notes),
        f"{first.stem}-beside-{second.stem}-matched",
        key="save matches",
    )


def _name(one: Looked) -> str:
    """What tells it from the other network: they may be one run at two epochs."""
    return f"{one.short}, epoch {one.epoch}"


def _matches(
    looked: list[Looked], steps: tuple[str, str], found: tuple[matching.Match, ...], choice: Choice
) -> list[tuple[str, Image.Image]]:
    """Draw the pairs of maps; the captions and pictures come back."""
    values = [
        layer_maps(one.network, choice.pixels[None], step).values[0] for one, step in zip(looked, steps, strict=True)
    ]
    values = [x[:, None, None] if x.ndim == 1 else x for x in values]
    scale = Scale.spanning([(float(x.min()), float(x.max())) for x in values if bool(x.isfinite().all())] or [(0, 0)])
    side = max(max(x.shape[1:]) for x in values)
    drawn = [
        torch.nn.functional.interpolate(torch.from_numpy(colour(x, scale)).permute(0, 3, 1, 2), (side, side))
        for x in values
    ]
    pairs, items = [], []
    for match in found:
        right = torch.full_like(drawn[0][0], 128) if match.second is None else drawn[1][match.second]
        gap = torch.full((3, side, max(1, side // 14)), 255, dtype=torch.uint8)
        pairs.append(torch.cat([drawn[0][match.first], gap, right], 2))
        if match.second is None:
            items.append({"name": f"{match.first} ↔ none", "title": f"channel {match.first} has no counterpart"})
        else:
            items.append(
                {
                    "name": f"{match.first} ↔ {match.second}",
                    "note": f"r {match.correlation:.2f}",
                    "title": f"channel {match.first} answers like {match.second}: r = {match.correlation:.3f}",
                }
            )
    names = [_name(one) for one in looked]
    taken = {match.second for match in found}
    left = [str(channel) for channel in range(len(values[1])) if channel not in taken]
    matched = sum(match.second is not None for match in found)
    st.caption(
        plain(
            f"{matched} of {len(found)} channels of {names[0]} answer like one of {names[1]}, which is drawn beside it "
            f"(|r| of at least {matching.ALIKE} over {matching.PICTURES} test pictures; each is used once; with a "
            f"negative r the sign is turned). Unmatched of {names[1]}: {', '.join(left) or 'none'}."
        )
    )
    pixels = torch.stack(pairs).permute(0, 2, 3, 1).numpy()
    tiles(
        f"Matched channels: {names[0]}, then {names[1]}",
        mosaic(pixels),
        (pixels.shape[2], side),
        max(1, round(64 / side)),
        items,
        key="matches",
        on_pick=partial(_open, looked[0].side, steps[0], [match.first for match in found]),
    )
    st.image(legend(scale, theme()), alt=f"Colours from {scale.low:.3g} to {scale.high:.3g}")
    zoom = max(1, round(64 / side))
    captions = [f"{item['name']} {item.get('note', '')}" for item in items]
    return [
        (text, Image.fromarray(pair.repeat(zoom, 0).repeat(zoom, 1)))
        for text, pair in zip(captions, pixels, strict=True)
    ]


def _open(side: str, step: str, channels: list[int], place: int) -> None:
    selection.choose_channel(side, step, channels[place])
    selection.VIEW.set(selection.MAPS)


# -- ten pictures ------------------------------------------------------------------------------------


def ten_pictures(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    """The study's sheet of the pictures on show."""
    arch = looked[0].run.architecture
    steps = list(step_names(arch))
    SHEET_LAYER.offer(steps, _last_maps(arch))
    row = st.container(horizontal=True, vertical_alignment="bottom")
    step = row.selectbox(
        "Layer", steps, format_func=lambda step: step.replace("_", ", "), key=SHEET_LAYER.widget, width=220
    )
    some, labels = choice.others, choice.labels  # ten at most
    names = [_counterpart(arch, one.run.architecture, step) for one in looked]
    maps = [layer_maps(one.network, some, name) for one, name in zip(looked, names, strict=True)]
    scale = Scale.of(maps)
    for one, name in zip(looked, names, strict=True):
        draw = partial(sheet, one.network, some, labels, name, dataset.classes, scale=scale)
        st.markdown(f"**{plain(one.title)}**")
        st.image(draw(theme()), width="stretch", alt=f"{len(some)} pictures and their maps of {name} in {one.title}")
        save_as_png("Save as PNG", draw, f"{one.stem}-{name}", key=f"sheet {one.side}")
    one_scale = " Both networks' maps are on one colour scale." if len(looked) > 1 else ""
    st.caption(f"The pictures of the strip above.{one_scale}")


def _last_maps(arch: Architecture) -> str:
    """The last convolution's step behind its activation, or block's, else the logits."""
    return last_maps(arch) or step_names(arch)[-1]


def _counterpart(arch: Architecture, other: Architecture, step: str) -> str:
    found = dict(matching.paired_steps(arch, other))[step]
    return found or _last_maps(other)
