"""What became of pictures over the epochs, as Altair charts."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from torch import Tensor

from cnnviz.inspection.forgetting import FATES, Fate, Learned
from cnnviz.render.colours import NEUTRAL, PALETTE

HUES: dict[Fate, str] = {"early": PALETTE[0], "late": PALETTE[2], "forgotten": PALETTE[1], "never": NEUTRAL}
WORDS: dict[Fate, str] = {
    "early": "learned early",
    "late": "learned late",
    "forgotten": "forgotten",
    "never": "never right",
}
MOST_EVENTS = 8  # forgetting events that have a bar of their own
HEIGHT = 260


def right_by_fate(found: Learned, answers: np.ndarray, labels: Tensor | np.ndarray) -> pd.DataFrame:
    """Columns epoch, fate, share: of all pictures, those that are right then and met that fate, in per cent.

    answers: (epochs, N), of the epochs of `found`. An epoch's shares add up to its accuracy.
    """
    right = answers == np.asarray(labels)
    rows = [
        (int(epoch), fate, 100 * float((those & (found.fate == place)).mean()))
        for epoch, those in zip(found.epochs, right, strict=True)
        for place, fate in enumerate(FATES)
        if fate != "never"
    ]
    return pd.DataFrame(rows, columns=["epoch", "fate", "share"])


def over_epochs(shares: pd.DataFrame) -> Any:
    """right_by_fate() as bands that add up to the accuracy."""
    fates = [fate for fate in FATES if fate in set(shares.fate)]
    frame = shares.assign(words=shares.fate.map(dict(WORDS)), place=shares.fate.map(fates.index))
    names = [WORDS[fate] for fate in fates]
    hue = alt.Color(
        "words:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=[HUES[fate] for fate in fates]),
        legend=alt.Legend(orient="top", direction="horizontal", offset=4),
    )
    tips = [
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("words:N", title="pictures"),
        alt.Tooltip("share:Q", title="of all pictures, right then (%)", format=".1f"),
    ]
    x = alt.X("epoch:O", title="epoch", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("share:Q", title="right (%)", stack="zero")
    bars = alt.Chart(frame).mark_bar().encode(x=x, y=y, color=hue, order=alt.Order("place:Q"), tooltip=tips)
    return bars.properties(height=HEIGHT)


def events(found: Learned) -> list[tuple[str, int]]:
    """How many pictures had no forgetting event, one, two, …, of those that were ever right."""
    ever = found.forgettings[found.first_right >= 0]
    counts = np.bincount(np.minimum(ever, MOST_EVENTS), minlength=1)
    words = [str(number) if number < MOST_EVENTS else f"{MOST_EVENTS}+" for number in range(len(counts))]
    return [(word, int(count)) for word, count in zip(words, counts, strict=True)]


def forgettings(counts: list[tuple[str, int]]) -> Any:
    """events() as bars, with their numbers."""
    frame = pd.DataFrame(counts, columns=["times", "pictures"])
    x = alt.X("times:N", sort=None, title="times forgotten", axis=alt.Axis(labelAngle=0))
    y = alt.Y("pictures:Q", title="pictures")
    tips = [alt.Tooltip("times:N", title="times forgotten"), alt.Tooltip("pictures:Q", format=",")]
    base = alt.Chart(frame).encode(x=x, y=y, tooltip=tips)
    figures = base.mark_text(dy=-7, color="#7a8794").encode(text=alt.Text("pictures:Q", format=","))
    return alt.layer(base.mark_bar(color=PALETTE[0]), figures).properties(height=HEIGHT)
