"""The forms that launch: the sidebar's launcher, more epochs, a fork, a finding's trial."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cnnviz import data, paths
from cnnviz.analysis.findings import Finding
from cnnviz.app import cache, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.shell import readable_errors
from cnnviz.config import DATASETS, DEFAULTS, PRESETS, SETTINGS, TYPES, RunConfig, grid, parse
from cnnviz.errors import ConfigError
from cnnviz.jobs import control, devices, estimate
from cnnviz.store.runs import Run
from cnnviz.wording import count

OWN = "own"
MOST_EPOCHS = int(SETTINGS["epochs"].high)


def launcher() -> None:
    """Choose what to train, see what it costs, train it."""
    st.subheader("Train")
    titles = {key: preset.title for key, preset in PRESETS.items()} | {OWN: "Your own"}
    chosen = st.selectbox("What", list(titles), format_func=titles.__getitem__, key="launch_preset")
    with readable_errors():
        choices = _own_choices() if chosen == OWN else dict(PRESETS[chosen].choices)
        if chosen != OWN:
            st.caption(plain(PRESETS[chosen].shows))
        columns = itertools.cycle(st.columns(2))
        for name in _offered("always"):
            choices[name] = [
                _data_set() if name == "dataset" else _one(name, DEFAULTS[name], f"launch_{name}", next(columns))
            ]
        with st.expander("More"):
            choices |= {name: [_one(name, DEFAULTS[name], f"launch_{name}", st)] for name in _offered("folded")}
            device = st.selectbox("Device", ["auto", *devices.available()], key="launch_device")
        configs = grid(None, **choices)
        st.caption(plain(estimate.estimate(configs, device).sentence))
        if st.button("Train", type="primary", width="stretch", key="launch", icon=":material/play_arrow:"):
            control.submit(configs, device)
            st.toast(f"{count(len(configs), 'run')} scheduled", icon=":material/check:")
            cache.all_runs.clear()
            st.switch_page("pages/home.py")


def _own_choices() -> dict[str, list[Any]]:
    """The values to train every combination of."""
    choices = {name: _several(name) for name in _offered("own")}
    with st.expander("More settings"):
        for name in _offered("own folded"):
            several = SETTINGS[name].choices
            choices[name] = _several(name) if several else [_one(name, DEFAULTS[name], f"launch_{name}", st)]
    for name, values in choices.items():
        if not values:
            raise ConfigError(f"no {SETTINGS[name].title.lower()} is chosen: choose at least one")
    return choices


def _offered(where: str) -> list[str]:
    return [name for name, its in SETTINGS.items() if its.offered == where]


def _several(name: str) -> list[Any]:
    """Any number of values of a setting; those that are not suggested may be typed."""
    its, default = SETTINGS[name], DEFAULTS[name]
    chosen = st.multiselect(
        its.title if default != "" else f"{its.title} (none chosen: the model's own)",
        its.choices or its.suggestions,
        [] if default == "" else [default],
        accept_new_options=not its.choices,
        key=f"launch_{name}",
        help=plain(its.help),
    )
    return [parse(name, str(value)) for value in chosen] or ([""] if default == "" else [])


def _one(name: str, value: Any, key: str, place: Any) -> Any:
    """One value of a setting, within its bounds."""
    its, kind = SETTINGS[name], TYPES[name]
    if its.choices:
        return place.selectbox(its.title, its.choices, its.choices.index(value), key=key)
    if kind is str or (its.suggestions and kind is float):  # a rate may be of any magnitude: no step suits it
        return parse(name, place.text_input(its.title, str(value), key=key))
    low = kind(math.nextafter(its.low, math.inf) if its.low_open else its.low)
    high = kind(math.nextafter(its.high, -math.inf) if its.high_open else its.high)
    shown = None if kind is int else "%g"
    step, text = kind(its.step or 1), plain(its.help)
    return place.number_input(its.title, low, high, value, step, format=shown, key=key, help=text)


def _data_set() -> str:
    names = list(DATASETS)
    default = 0 if data.available("cifar10") else 1
    name = st.selectbox("Data set", names, default, format_func=data.TITLES.__getitem__, key="launch_dataset")
    if name == "synthetic":
        st.caption("Drawn shapes made by cnnviz, shaped like CIFAR-10. Its figures are not CIFAR-10's.")
    if not data.available("cifar10"):
        st.caption(f"CIFAR-10 is not in `{paths.data_root()}`.")
        if st.button("Download CIFAR-10 (170 MB)", key="fetch", width="stretch"):
            with readable_errors():
                bar = st.progress(0.0)

                def show(message: str, fraction: float) -> None:
                    bar.progress(min(fraction, 1.0), text=plain(message))

                data.fetch(show)
                st.rerun()
    return name


def more_epochs(found: Sequence[Run], key: str) -> None:
    """So many more epochs in the same runs."""
    epochs = int(st.number_input("More epochs", 1, MOST_EPOCHS, DEFAULTS["epochs"], key=f"more {key}"))
    busy = [run for run in found if run.active]
    many = count(len(found), "run")
    if busy:
        st.caption(plain(f"{busy[0].name} is still training or waiting: it can go on once it has ended."))
    if st.button(f"Continue {many}", type="primary", disabled=bool(busy), key=f"continue {key}"):
        with readable_errors():
            control.continue_runs([run.id for run in found], epochs)
            _launched(f"{many} will train {epochs} more epochs")


def fork(run: Run, epoch: int, key: str) -> None:
    """A new run from this one's weights after an epoch, with something changed."""
    st.caption(plain(f"A new run from the weights of {run.name} after epoch {epoch}. Change at least one setting."))
    columns = itertools.cycle(st.columns(2))
    with readable_errors():
        wanted = {
            name: _one(name, getattr(run.config, name), f"fork {name} {key}", next(columns))
            for name, its in SETTINGS.items()
            if its.forkable
        }
        epochs = _one("epochs", DEFAULTS["epochs"], f"fork epochs {key}", next(columns))
        settings = {name: value for name, value in wanted.items() if value != getattr(run.config, name)}
        if st.button("Fork", type="primary", disabled=not settings, key=f"fork {key}"):
            control.fork(run.id, epoch, settings, epochs)
            _launched(f"a fork will train {epochs} epochs from epoch {epoch}")


def finding(run: Run, found: Finding, key: str) -> None:
    """A finding with its evidence, and the button that launches the one change that would test it."""
    icon = ":material/warning:" if found.severity == "alarm" else ":material/info:"
    with st.container(border=True):
        st.markdown(f"{icon} **{plain(found.title)}.** {plain(found.sentence)}")
        row = st.container(horizontal=True, vertical_alignment="center")
        row.caption(plain(f"What would prove it wrong: {found.refutes}"))
        if found.test is None:
            return
        trial = found.test
        if row.button(trial.label, key=f"trial {key}", icon=":material/science:", disabled=run.active):
            with readable_errors():
                if trial.epochs:
                    control.continue_runs([run.id], trial.epochs)
                else:
                    control.submit([trial.config(run.config)], devices.nearest(run.device))
                _launched(f"launched: {trial.label}")


def launch(configs: Sequence[RunConfig], device: str) -> None:
    with readable_errors():
        control.submit(configs, devices.nearest(device))
        _launched(f"{count(len(configs), 'run')} scheduled")


def _launched(words: str) -> None:
    st.toast(words, icon=":material/check:")
    widgets.refresh()
