"""The forms that launch: the sidebar's launcher, more epochs, a fork."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from cnnviz import data, paths
from cnnviz.analysis import comparison, predictions
from cnnviz.app import cache, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.shell import FORM_OPEN, readable_errors
from cnnviz.app.state import Slot
from cnnviz.app.watching import nodes
from cnnviz.config import DATASETS, DEFAULTS, SETTINGS, TYPES, RunConfig, grid, parse
from cnnviz.errors import ConfigError
from cnnviz.jobs import control, devices, estimate
from cnnviz.presets import BROKEN, PRESETS
from cnnviz.store.runs import Prediction, Run
from cnnviz.wording import count

OWN = "own"
EXPERIMENT = Slot("launch_preset", next(iter(PRESETS)))
GROUPED = {key: preset.title for key, preset in PRESETS.items() if preset.group == BROKEN}
MISTAKE = Slot("launch_broken", next(iter(GROUPED)))  # which of those, if they are chosen
MOST_EPOCHS = int(SETTINGS["epochs"].high)


def launcher() -> None:
    """Choose what to train, see what it costs, train it."""
    st.subheader("Train")
    titles = {key: preset.title for key, preset in PRESETS.items() if not preset.group}
    titles |= {BROKEN: BROKEN, OWN: "Your own"}
    chosen = st.selectbox("Experiment", list(titles), format_func=titles.__getitem__, key=EXPERIMENT.name)
    if chosen == BROKEN:
        chosen = st.selectbox("Mistake", list(GROUPED), format_func=GROUPED.__getitem__, key=MISTAKE.name)
    with readable_errors():
        if FORM_OPEN.get():
            control.stand_by()
        choices = _own_choices() if chosen == OWN else dict(PRESETS[chosen].choices)
        if chosen != OWN:
            st.caption(plain(PRESETS[chosen].shows))
            st.caption(plain(contents(choices, PRESETS[chosen].remedies)))
        columns = itertools.cycle(st.columns(2))
        for name in _offered("always"):
            if len(choices.get(name, [None])) > 1 or (chosen == OWN and name in choices):
                continue  # it is what the experiment compares, or was chosen above
            key, value = _remembered(name, choices)
            choices[name] = [_data_set(value, key) if name == "dataset" else _one(name, value, key, next(columns))]
        with st.expander("More"):
            for name in _offered("folded"):
                key, value = _remembered(name, choices)
                choices[name] = [_one(name, value, key, st)]
            device = st.selectbox("Device", ["auto", *devices.available()], key="launch_device")
        configs = grid(None, **choices) if chosen == OWN else PRESETS[chosen].of(choices)
        st.caption(plain(estimate.estimate(configs, device).sentence))
        if devices.resolve(device) == "cluster":
            nodes.line()
        if st.button("Train", type="primary", width="stretch", key="launch", icon=":material/play_arrow:"):
            train(configs, device, ask=chosen != OWN)


def _remembered(name: str, choices: dict[str, list[Any]]) -> tuple[str, Any]:
    """The widget's key and its first value; a preset's own value is not mixed up with what was typed elsewhere."""
    (value,) = choices.get(name, [DEFAULTS[name]])
    return f"launch_{name}" if value == DEFAULTS[name] else f"launch_{name} {value}", value


def contents(choices: dict[str, list[Any]], remedies: bool = False) -> str:
    """What an experiment trains: "12 networks, lenet5x5: sigmoid, tanh × mse, cross entropy × lr 0.1, 0.01, 0.001".

    Of remedies: "4 networks, lenet5x5: without, with dropout 0.5, with decay 0.001, with all".
    """
    said = {name: comparison.several(name, values) for name, values in choices.items() if name in comparison.PARAMETERS}
    fixed = [said[name] for name in said if len(choices[name]) == 1 and name != "dataset"]
    varied = [name for name in said if len(choices[name]) > 1]
    if remedies:
        number, last = len(varied) + 2, {name: comparison.several(name, choices[name][-1:]) for name in varied}
        what = ", ".join(["without", *(f"with {words}" for words in last.values()), "with all"])
    else:
        number, what = math.prod(map(len, choices.values())), " × ".join(said[name] for name in varied)
    return ": ".join(filter(None, [", ".join([count(number, "network"), *fixed]), what]))


def choose(experiment: str) -> None:
    """Open the form on this experiment; to be called before it is drawn, as a button's on_click is."""
    EXPERIMENT.set(experiment)
    FORM_OPEN.set(True)


def train(configs: Sequence[RunConfig], device: str = "auto", ask: bool = False) -> None:
    """Schedule the runs and show them on Home. ask: what is expected of them first, unless some were trained before."""
    known = {replace(run.config, epochs=1) for run in cache.runs()}
    if ask and not any(replace(config, epochs=1) in known for config in configs):
        _predict(configs, device)
    else:
        _submit(configs, device)


def _submit(configs: Sequence[RunConfig], device: str, predicted: Sequence[Prediction] | None = None) -> None:
    with readable_errors():
        control.submit(configs, device, predicted)
        st.toast(f"{count(len(configs), 'run')} scheduled", icon=":material/check:")
        widgets.forget_runs()
        FORM_OPEN.set(False)
        st.switch_page("pages/home.py")


@st.dialog("What do you expect?")
def _predict(configs: Sequence[RunConfig], device: str) -> None:
    """Ask before it trains; the answers are kept with the runs and shown beside what came."""
    control.stand_by()
    names, epochs = comparison.described(configs), max(config.epochs for config in configs)
    places = range(len(configs))
    st.caption("Say it before you see it. Your answers are kept, and shown beside the result.")
    best: int | None = 0
    if len(configs) > 1:
        name = names.__getitem__
        best = st.selectbox("Which will be best?", places, None, format_func=name, key="predict_best")
        some = st.multiselect(
            "Which will not learn?", places, format_func=name, placeholder="All will learn", key="predict_stalled"
        )
    else:
        learns = st.radio("Will it learn?", ("Yes", "No"), horizontal=True, key="predict_learns")
        some = [] if learns == "Yes" else [0]
    options = [None, 0, *range(2, epochs + 1)]
    words = {None: "I don't know", 0: f"Not within {epochs} epochs"}
    overfits = st.selectbox(
        f"From which epoch on will {'the best one' if len(configs) > 1 else 'it'} overfit?",
        options,
        format_func=lambda epoch: words.get(epoch, str(epoch)),
        help="Its test loss rises while its train loss goes on falling",
        key="predict_overfits",
    )
    row = st.container(horizontal=True)
    if row.button("Train", type="primary", disabled=best is None, icon=":material/play_arrow:", key="predict_train"):
        _submit(configs, device, predictions.predictions(configs, time.time(), best, some, overfits))
    if row.button("Skip", key="predict_skip"):
        _submit(configs, device)


def _own_choices() -> dict[str, list[Any]]:
    """The values to train every combination of."""
    choices = {name: _several(name) for name in _offered("own")}
    for name in _offered("always"):
        if SETTINGS[name].suggestions:
            choices[name] = _several(name, f"launch several {name}")
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


def _several(name: str, key: str = "") -> list[Any]:
    """Any number of values of a setting; those that are not suggested may be typed."""
    its, default = SETTINGS[name], DEFAULTS[name]
    chosen = st.multiselect(
        its.title if default != "" else f"{its.title} (none chosen: the model's own)",
        its.choices or its.suggestions,
        [] if default == "" else [default],
        accept_new_options=not its.choices,
        key=key or f"launch_{name}",
        help=plain(its.help),
    )
    return [parse(name, str(value)) for value in chosen] or ([""] if default == "" else [])


def _one(name: str, value: Any, key: str, place: Any) -> Any:
    """One value of a setting, within its bounds."""
    its, kind = SETTINGS[name], TYPES[name]
    if its.choices:
        return place.selectbox(its.title, its.choices, its.choices.index(value), key=key)
    if its.zero:
        now = str(value) if value else its.zero
        options = list(dict.fromkeys([its.zero, *map(str, its.suggestions), now]))
        where, text = options.index(now), plain(its.help)
        chosen = place.selectbox(its.title, options, where, accept_new_options=True, key=key, help=text)
        return kind(0) if chosen == its.zero else parse(name, str(chosen))
    if kind is str or (its.suggestions and kind is float):  # a rate may be of any magnitude: no step suits it
        return parse(name, place.text_input(its.title, str(value), key=key))
    low = kind(math.nextafter(its.low, math.inf) if its.low_open else its.low)
    high = kind(math.nextafter(its.high, -math.inf) if its.high_open else its.high)
    shown = None if kind is int else "%g"
    step, text = kind(its.step or 1), plain(its.help)
    return place.number_input(its.title, low, high, value, step, format=shown, key=key, help=text)


def _data_set(value: str, key: str) -> str:
    names = list(DATASETS)
    default = names.index(value if data.available(value) else "synthetic")
    name = st.selectbox("Data set", names, default, format_func=data.TITLES.__getitem__, key=key)
    if name == "synthetic":
        st.caption("Drawn shapes made by cnnviz, shaped like CIFAR-10. Its figures are not CIFAR-10's.")
    else:
        download("sidebar")
    return name


def download(where: str) -> None:
    """The button that fetches CIFAR-10, and what to do without a network; nothing if it is here."""
    if data.available("cifar10"):
        return
    if st.button("Download CIFAR-10 (170 MB)", key=f"fetch {where}", width="stretch", icon=":material/download:"):
        with readable_errors():
            bar = st.progress(0.0)

            def show(message: str, fraction: float) -> None:
                bar.progress(min(fraction, 1.0), text=plain(message))

            data.fetch(show)
            st.rerun()
    st.caption(f"Without a network: copy `{paths.CIFAR10_ARCHIVE}` into `{paths.data_root()}` and reload the page.")


def more_epochs(found: Sequence[Run], key: str) -> None:
    """So many more epochs in the same runs."""
    epochs = int(st.number_input("More epochs", 1, MOST_EPOCHS, DEFAULTS["epochs"], key=f"more {key}"))
    known = {run.id: run for run in cache.runs()}
    found = [known.get(run.id, run) for run in found]  # one may have been queued since the page was drawn
    busy = [run for run in found if run.active]
    many = count(len(found), "run")
    if busy:
        state = "in training" if any(run.status == "RUNNING" for run in busy) else "queued"
        st.info(plain(f"{count(len(busy), 'run')} {state}, to epoch {busy[0].config.epochs}: more once it has ended."))
    else:
        reached = sorted({max(run.epoch, 0) for run in found})
        where = f"epoch {reached[0]} to {reached[0] + epochs}" if len(reached) == 1 else "where each of them ended"
        anew = " Its patience is counted anew." if any(run.config.patience for run in found) else ""
        st.caption(plain(f"Trains on from {where}, with the same settings, as one line.{anew}"))
    if st.button(f"Continue {many}", type="primary", disabled=bool(busy), key=f"continue {key}"):
        with readable_errors(), st.spinner("Queueing …"):
            control.continue_runs([run.id for run in found], epochs)
            launched(f"Queued: {many} will train {epochs} more epochs")


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
            launched(f"a fork will train {epochs} epochs from epoch {epoch}")


def launch(configs: Sequence[RunConfig], device: str) -> None:
    """Schedule the runs and stay on the page."""
    with readable_errors():
        control.submit(configs, devices.nearest(device))
        launched(f"{count(len(configs), 'run')} scheduled")


def launched(words: str) -> None:
    """Say so, and draw the page with what has been scheduled."""
    st.toast(words, icon=":material/check:")
    widgets.refresh()
