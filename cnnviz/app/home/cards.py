"""The three ways to begin."""

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from cnnviz import data
from cnnviz.app import launch
from cnnviz.app.markdown import plain
from cnnviz.config import RunConfig
from cnnviz.jobs import estimate
from cnnviz.presets import PRESETS


def show() -> None:
    first, second, third = st.columns(3)
    with _card(first, "Try it", "Train three networks on the drawn shapes and watch their curves grow."):
        _train(PRESETS["try"].configs(), "Train three networks", "try", primary=True)
    with _card(
        second, "The study", "Twelve LeNets on CIFAR-10's photographs: two activations, two losses, three rates."
    ):
        if data.available("cifar10"):
            _train(PRESETS["1a"].configs(), "Train twelve networks", "1a")
        else:
            launch.download("card")
            _train(PRESETS["1a"].configs(dataset="synthetic"), "Train them on the drawn shapes", "1a shapes")
    with _card(third, "Your own", "Any layers, activations, losses and rates: every combination is trained."):
        st.button(
            "Choose the settings",
            key="card own",
            icon=":material/tune:",
            width="stretch",
            on_click=launch.choose,
            args=(launch.OWN,),
        )


def _card(column: Any, title: str, text: str) -> Any:
    card = column.container(border=True, height="stretch")
    card.subheader(title)
    card.markdown(text)
    return card


def _train(configs: Sequence[RunConfig], label: str, key: str, primary: bool = False) -> None:
    kind: Literal["primary", "secondary"] = "primary" if primary else "secondary"
    if st.button(label, type=kind, key=f"card {key}", icon=":material/play_arrow:", width="stretch"):
        launch.train(configs, ask=True)
    st.caption(plain(estimate.estimate(configs).sentence))
