"""The forms that launch: the sidebar's launcher, more epochs, a fork, a finding's trial."""

import contextlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cnnviz import data, paths
from cnnviz.analysis.findings import Finding
from cnnviz.app import widgets
from cnnviz.app.shell import readable_errors
from cnnviz.app.widgets import plain
from cnnviz.architectures import ACTIVATIONS, ARCHITECTURES, POOLINGS
from cnnviz.config import DATASETS, LOSSES, OPTIMIZERS, PRESETS, RunConfig, grid
from cnnviz.errors import ConfigError
from cnnviz.jobs import control, devices, estimate
from cnnviz.store.runs import Run

OWN = "own"
RATES = [0.1, 0.01, 0.001]


def launcher() -> None:
    """Choose what to train, see what it costs, train it."""
    st.subheader("Train")
    titles = {key: preset.title for key, preset in PRESETS.items()} | {OWN: "Your own"}
    chosen = st.selectbox("What", list(titles), format_func=titles.__getitem__, key="launch_preset")
    with contextlib.ExitStack() as stack:
        stack.enter_context(readable_errors())
        choices = _own_choices() if chosen == OWN else dict(PRESETS[chosen].choices)
        if chosen != OWN:
            st.caption(plain(PRESETS[chosen].shows))
        first, second = st.columns(2)
        choices["epochs"] = [first.number_input("Epochs", 1, 10_000, 20, key="launch_epochs")]
        choices["batch_size"] = [second.number_input("Batch size", 1, 10_000, 10, key="launch_batch")]
        choices["dataset"] = [_data_set()]
        with st.expander("More"):
            choices["limit_train"] = [
                st.number_input("Training images (0: all)", 0, 50_000, 0, step=1000, key="launch_limit")
            ]
            device = st.selectbox("Device", ["auto", *devices.available()], key="launch_device")
        configs = grid(None, **choices)
        st.caption(plain(estimate.estimate(configs, device).sentence))
        if st.button("Train", type="primary", width="stretch", key="launch", icon=":material/play_arrow:"):
            control.submit(configs, device)
            st.toast(f"{len(configs)} run{'s' if len(configs) > 1 else ''} scheduled", icon=":material/check:")
            st.cache_data.clear()
            st.switch_page("pages/runs.py")


def _own_choices() -> dict[str, list[Any]]:
    models = st.multiselect(
        "Model",
        list(ARCHITECTURES),
        ["lenet5x5"],
        accept_new_options=True,
        key="launch_model",
        help="Or spell out layers: `c6k5-s2-c16k5-s2-f120-f84` is LeNet: 6 maps of 5×5, pooling with stride 2, …",
    )
    choices: dict[str, list[Any]] = {
        "model": models,
        "activation": st.multiselect("Activation", ACTIVATIONS, ["tanh"], key="launch_activation"),
        "loss": st.multiselect("Loss", LOSSES, ["cross_entropy"], key="launch_loss"),
        "lr": [
            _number(rate)
            for rate in st.multiselect("Learning rate", RATES, [0.01], accept_new_options=True, key="launch_lr")
        ],
        "seed": [
            _number(seed, whole=True)
            for seed in st.multiselect("Seed", [0, 1, 2, 3, 4], [0], accept_new_options=True, key="launch_seed")
        ],
    }
    with st.expander("Optimizer and pooling"):
        choices["optimizer"] = st.multiselect("Optimizer", OPTIMIZERS, ["sgd"], key="launch_optimizer")
        choices["momentum"] = [st.number_input("Momentum", 0.0, 0.999, 0.0, 0.1, key="launch_momentum")]
        choices["weight_decay"] = [
            st.number_input("Weight decay", 0.0, 10.0, 0.0, 0.0001, format="%g", key="launch_decay")
        ]
        own = st.multiselect("Pooling (none chosen: the model's own)", POOLINGS, key="launch_pooling")
        choices["pooling"] = own or [""]
    for name, values in choices.items():
        if not values:
            raise ConfigError(f"no {name.replace('_', ' ')} is chosen: choose at least one")
    return choices


def _number(value: object, whole: bool = False) -> float | int:
    try:
        return int(str(value)) if whole else float(str(value))
    except ValueError:
        wanted = "a whole number such as 3" if whole else "a number such as 0.01"
        raise ConfigError(f"{value!r} is not {wanted}: take it out and type another") from None


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
    epochs = int(st.number_input("More epochs", 1, 10_000, 20, key=f"more {key}"))
    busy = [run for run in found if run.active]
    many = f"{len(found)} run{'s' if len(found) != 1 else ''}"
    if busy:
        st.caption(plain(f"{busy[0].name} is still training or waiting: it can go on once it has ended."))
    if st.button(f"Continue {many}", type="primary", disabled=bool(busy), key=f"continue {key}"):
        with readable_errors():
            control.continue_runs([run.id for run in found], epochs)
            _launched(f"{many} will train {epochs} more epochs")


def fork(run: Run, epoch: int, key: str) -> None:
    """A new run from this one's weights after an epoch, with something changed."""
    st.caption(plain(f"A new run from the weights of {run.name} after epoch {epoch}. Change at least one setting."))
    was = run.config
    left, right = st.columns(2)
    with readable_errors():
        lr = left.text_input("Learning rate", repr(was.lr), key=f"fork lr {key}")
        changes: dict[str, Any] = {
            "lr": _number(lr),
            "loss": right.selectbox("Loss", LOSSES, LOSSES.index(was.loss), key=f"fork loss {key}"),
            "optimizer": left.selectbox(
                "Optimizer", OPTIMIZERS, OPTIMIZERS.index(was.optimizer), key=f"fork optimizer {key}"
            ),
            "batch_size": right.number_input("Batch size", 1, 10_000, was.batch_size, key=f"fork batch {key}"),
            "momentum": left.number_input("Momentum", 0.0, 0.999, was.momentum, 0.1, key=f"fork momentum {key}"),
            "weight_decay": right.number_input(
                "Weight decay", 0.0, 10.0, was.weight_decay, 0.0001, format="%g", key=f"fork decay {key}"
            ),
            "seed": left.number_input("Seed", 0, 2**31 - 1, was.seed, key=f"fork seed {key}"),
        }
        epochs = int(right.number_input("Epochs", 1, 10_000, 20, key=f"fork epochs {key}"))
        changes = {name: value for name, value in changes.items() if value != getattr(was, name)}
        if st.button("Fork", type="primary", disabled=not changes, key=f"fork {key}"):
            control.fork(run.id, epoch, changes, epochs)
            _launched(f"a fork will train {epochs} epochs from epoch {epoch}")


def finding(run: Run, found: Finding, key: str) -> None:
    """A finding with its evidence, and the button that launches the one change that would test it."""
    icon = ":material/warning:" if found.severity == "alarm" else ":material/info:"
    with st.container(border=True):
        st.markdown(f"{icon} **{plain(found.title)}.** {plain(found.sentence)}")
        row = st.container(horizontal=True, vertical_alignment="center")
        row.caption(plain(f"It would be refuted by this: {found.refutes}"))
        if found.test is None:
            return
        trial = found.test
        if row.button(trial.label, key=f"trial {key}", icon=":material/science:", disabled=run.active):
            with readable_errors():
                if trial.epochs:
                    control.continue_runs([run.id], trial.epochs)
                else:
                    control.submit([trial.config(run.config)], run.device)
                _launched(f"launched: {trial.label}")


def launch(configs: Sequence[RunConfig], device: str) -> None:
    with readable_errors():
        control.submit(configs, device)
        _launched(f"{len(configs)} run{'s' if len(configs) != 1 else ''} scheduled")


def _launched(words: str) -> None:
    st.toast(words, icon=":material/check:")
    widgets.refresh()
