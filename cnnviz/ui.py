"""What the pages share: navigation, the guard, the launcher, readable errors. Only this part needs Streamlit."""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import streamlit as st

from cnnviz import data, jobs, tracking
from cnnviz.config import DATASETS, LOSSES, OPTIMIZERS, PRESETS, grid
from cnnviz.errors import CnnvizError, ConfigError
from cnnviz.models import ACTIVATIONS, ARCHITECTURES, POOLINGS
from cnnviz.tracking import TrackedRun

OWN = "own"
RATES = [0.1, 0.01, 0.001]
STATUS = {
    "SCHEDULED": "◷ waiting",
    "RUNNING": "▶ training",
    "FINISHED": "✓ finished",
    "FAILED": "✕ failed",
    "KILLED": "■ stopped",
}


def navigation() -> Any:
    """The app's pages; a file's name is its address."""
    return st.navigation(
        [
            st.Page("pages/runs.py", title="Runs", icon=":material/list:", default=True),
            st.Page("pages/curves.py", title="Curves", icon=":material/show_chart:"),
            st.Page("pages/feature_maps.py", title="Feature maps", icon=":material/grid_view:"),
        ]
    )


def guard() -> None:
    """Streamlit runs a page without app.py when a fresh server is asked for its address: begin again with the app."""
    if not st.session_state.pop("app_ran", False):
        st.set_page_config(page_icon="🔍")  # else the page's own icon is fetched from the network
        navigation()
        st.rerun()


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """A CnnvizError as its one line; anything else as one line and its traceback in a log file."""
    try:
        yield
    except CnnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
    except Exception as error:
        log = tracking.home() / "app.log"
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(log, encoding="utf-8")
            logger = logging.getLogger("cnnviz.app")
            logger.addHandler(handler)
            logger.exception("unexpected")
            logger.removeHandler(handler)
            handler.close()
        st.error(plain(f"Unexpected: {type(error).__name__}. Reload the page; the details are in {log}."))


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:])", r"\\\1", text)


def is_dark() -> bool:
    return st.context.theme.type == "dark"


@st.cache_data(ttl=1.0, show_spinner=False)
def all_runs(uri: str) -> list[TrackedRun]:
    return tracking.runs()


def runs() -> list[TrackedRun]:
    """All runs, newest first, at most a second old."""
    return all_runs(tracking.tracking_uri())


def label(run: TrackedRun) -> str:
    return f"{run.name} · {run.id[:6]}"


# -- the launcher --------------------------------------------------------------------------------


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
            device = st.selectbox("Device", ["auto", *jobs.devices()], key="launch_device")
        configs = grid(None, **choices)
        st.caption(plain(jobs.estimate(configs, device).sentence))
        if st.button("Train", type="primary", width="stretch", key="launch", icon=":material/play_arrow:"):
            jobs.submit(configs, device)
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
        st.caption(f"CIFAR-10 is not in `{data.data_root()}`.")
        if st.button("Download CIFAR-10 (170 MB)", key="fetch", width="stretch"):
            with readable_errors():
                bar = st.progress(0.0)

                def show(message: str, fraction: float) -> None:
                    bar.progress(min(fraction, 1.0), text=plain(message))

                data.fetch(show)
                st.rerun()
    return name


def empty_state(text: str) -> None:
    st.info(text, icon=":material/lightbulb:")


def params(found: Sequence[TrackedRun]) -> list[dict[str, Any]]:
    """A row a run: its id, its name and every parameter."""
    skip = {"epochs"}
    return [
        {"run_id": run.id, "name": run.name}
        | {name: value for name, value in vars(run.config).items() if name not in skip}
        for run in found
    ]
