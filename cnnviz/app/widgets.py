"""Small things that several pages show."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image
from torch import Tensor

from cnnviz import wording
from cnnviz.analysis import leaderboard
from cnnviz.app import cache
from cnnviz.app.state import Key
from cnnviz.render import curve_charts
from cnnviz.render.colours import DARK, LIGHT, Theme
from cnnviz.render.exports import png
from cnnviz.render.maps import mosaic
from cnnviz.store.runs import Run

_SIGNS = {"SCHEDULED": "◷", "RUNNING": "▶", "FINISHED": "✓", "FAILED": "✕", "KILLED": "■"}
STATUS = {status: f"{sign} {leaderboard.STATUS[status]}" for status, sign in _SIGNS.items()}


def status(run: Run) -> str:
    """Its status with a sign."""
    if run.stopping:
        return f"◌ {leaderboard.status(run)}"
    return f"{_SIGNS[run.status]} {leaderboard.status(run)}"


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def hues(parameter: str, found: Sequence[Run]) -> dict[str, str]:
    """The colours of a parameter's values among these runs: the same on every page, as long as the store only grows."""
    known = [vars(run.config)[parameter] for run in reversed(cache.runs())]
    return curve_charts.hues([vars(run.config)[parameter] for run in found], known)


def segments(run: Run) -> str:
    """Training time by segment: "0 to 20: 4 min, 20 to 40: 2 min"."""
    starts = [segment.start_epoch for segment in run.segments]
    parts = zip(starts, [*starts[1:], run.epoch], run.segments, strict=False)
    return ", ".join(f"{start} to {end}: {wording.duration(segment.seconds)}" for start, end, segment in parts)


def refresh() -> None:
    """Draw the whole page anew, from the store as it is now."""
    forget_runs()
    st.rerun()


def forget_runs() -> None:
    """Have the runs read again, after a change to them; what else is cached, for any session, is still true."""
    cache.all_runs.clear()


def one_of(label: str, options: Mapping[Any, str], key: Key[Any], **more: Any) -> Any:
    """A row of buttons, exactly one of them chosen; options: what each value is called. label: for a screen reader."""
    key.offer(options)
    st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        required=True,
        key=key.widget,
        label_visibility="collapsed",
        **more,
    )
    return key.get()


def say_mode(found: Sequence[Run]) -> None:
    """That figures recorded in training mode, by a mistake, are not those of a page that looks in evaluation mode."""
    if any(run.config.mistake == "no-eval" for run in found):
        st.caption(
            "Recorded figures of a run with the mistake no-eval are of training mode. Here it is evaluation mode."
        )


def label(run: Run) -> str:
    return f"{run.name} · {run.id[:8]}"


def empty_state(text: str) -> None:
    st.info(text, icon=":material/lightbulb:")


def no_runs() -> None:
    """What every page but Home says as long as there is nothing to show."""
    empty_state("No runs yet. Home has three ways to begin; **New experiment**, at the top, has all settings.")
    st.page_link("pages/home.py", label="Go to Home", icon=":material/home:")


def thumbnails(pixels: Tensor) -> Image.Image:
    """uint8 (N, 32, 32, 3) pictures as tiles() takes them."""
    return mosaic(pixels.cpu().numpy())


def enlarge(pixels: Tensor, zoom: int) -> np.ndarray:
    """uint8 (32, 32, 3) with every pixel a square of zoom × zoom."""
    return pixels.cpu().numpy().repeat(zoom, 0).repeat(zoom, 1)


def save_as_png(label: str, make: Callable[[], Image.Image], name: str, key: str) -> None:
    """A button that saves a picture, which is made only when it is asked for."""
    st.download_button(
        label,
        lambda: png(make()),
        f"{name}.png",
        "image/png",
        on_click="ignore",
        key=key,
        icon=":material/image:",
    )


def theme() -> Theme:
    """The colours that suit what the browser shows."""
    return DARK if is_dark() else LIGHT
