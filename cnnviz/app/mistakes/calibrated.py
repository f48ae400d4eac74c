"""Calibration: whether a network is as often right as it is sure."""

import streamlit as st

from cnnviz.analysis.evidence import accuracy
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import answered
from cnnviz.app.mistakes.classes import ink
from cnnviz.app.networks import Chosen
from cnnviz.data import Dataset
from cnnviz.render import confusion_charts, mistake_words


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of one network, or of two beside each other."""
    places = st.columns(len(chosen), gap="large")
    for letter, place, one in zip("AB", places, chosen, strict=False):
        with place:
            if len(chosen) > 1:
                st.markdown(f"**{letter}**: {plain(one.title)}")
            _of(one, dataset, narrow=len(chosen) > 1)


def _of(one: Chosen, dataset: Dataset, narrow: bool) -> None:
    found = answered.at_epoch(one, dataset).calibration
    if found is None:
        if narrow:
            st.caption("No predictions at this epoch.")
        return
    st.markdown(plain(mistake_words.sureness(found)))
    if one.run.config.loss == "mse":
        st.caption(
            "It was trained with MSE, which teaches outputs of 0 and 1, not probabilities: their softmax is flat, so "
            "that it looks less sure than it is, and the calibration error says little."
        )
    diagram, counts = confusion_charts.reliability(found, ink())
    with st.container(key=f"calibration_stage {one.side}", horizontal=True):
        with st.container(key=f"calibration_now {one.side}", gap=None):
            said = f"Reliability diagram: accuracy by confidence. {mistake_words.sureness(found)}"
            st.altair_chart(diagram, width="stretch", key=f"reliability {one.side}", alt=said)
            most = int(found.counts.argmax())
            span = f"{accuracy(float(found.edges[most]))} to {accuracy(float(found.edges[most + 1]))}"
            said = f"Pictures by confidence: most of them, {int(found.counts[most]):,}, at {span}"
            st.altair_chart(counts, width="stretch", key=f"confidences {one.side}", alt=said)
            st.caption(
                "Blue: share that is right among pictures of that confidence. Orange: how far it is from the dashed "
                "line, where confidence and accuracy are equal (Guo et al. 2017)."
            )
        with st.container(key=f"calibration_epochs {one.side}"):
            every = answered.every_epoch(one, dataset)
            said = mistake_words.drift(every.epochs, every.calibrations)
            if len(every.epochs) > 1:
                drawn = confusion_charts.confidence_lines(every.epochs, every.calibrations, one.epoch, ink())
                st.altair_chart(drawn, width="stretch", key=f"confidence_lines {one.side}", alt=said)
            if one.run.config.loss != "mse":  # whose confidence means nothing
                st.markdown(plain(said))
