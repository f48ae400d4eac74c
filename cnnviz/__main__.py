"""python -m cnnviz: the same path as the app's, without a screen."""

import argparse
import contextlib
import itertools
import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cnnviz import terminals
from cnnviz.config import DEVICES, PARAMETERS, SETTINGS, SWITCH, RunConfig, grid, parse
from cnnviz.errors import CnnvizError, DataError
from cnnviz.loading import loading
from cnnviz.wording import count, duration

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.architectures import Architecture
    from cnnviz.jobs.status import WorkerStatus
    from cnnviz.store.runs import Run

MAX_PICTURES = 100  # on one sheet
EXPORTS = ("script", "notebook", "report", "weights")

# Modules are imported in the commands that need them: --help and a mistyped argument answer at once.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_program(), description="Train small CNNs on CIFAR-10 and look inside them.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    train = command("train", _train, "Train here; lists are comma-separated and multiply into a grid.")
    for name, its in SETTINGS.items():
        choices = f"{', '.join(its.choices)}; " if its.choices else ""
        switch: dict[str, Any] = {"nargs": "?", "const": "on"} if its.choices == SWITCH else {}  # alone: on
        metavar = its.abbreviation or name.upper()
        train.add_argument(_option(name), metavar=metavar, help=f"{choices}{its.help}", **switch)
    train.add_argument("--device", default="auto", help=", ".join(DEVICES))
    work = command("work", _work, "A worker: trains what is scheduled, then leaves.")
    work.add_argument("--device", default="auto", help=", ".join(DEVICES))
    work.add_argument("--stand-by", action="store_true", help="begin when a line comes on stdin; leave at its end")
    command("cluster", _cluster, "The nodes of the Ray cluster that CNNVIZ_RAY names, and what each lacks.")
    runs = command("runs", _runs, "List the runs.")
    runs.add_argument("--json", action="store_true", help="as JSON")
    more = command("continue", _continue, "Train runs for more epochs, in the same runs.")
    more.add_argument("run_ids", nargs="+", metavar="RUN_ID")
    more.add_argument("--epochs", type=int, required=True, help="how many more")
    stop = command("stop", _stop, "Stop runs; their last complete epoch is kept.")
    stop.add_argument("run_ids", nargs="+", metavar="RUN_ID")
    features = command("features", _features, "Pictures, predictions and feature maps on one sheet.")
    features.add_argument("run_id", metavar="RUN_ID")
    features.add_argument(
        "--images",
        nargs="+",
        default=["test:0-9"],
        help=f"test:0-9, test:3,8 and files, at most {MAX_PICTURES} together",
    )
    features.add_argument(
        "--layer",
        help="c1, s2, c3_activation, …; default: the last convolution's activation, or else the last hidden layer's",
    )
    features.add_argument("--epoch", type=int, help="default: the last one kept")
    features.add_argument(
        "--out", type=Path, default=Path("sheet.png"), help="the file to write: .png, .jpg or .webp; default: sheet.png"
    )
    mistakes = command("mistakes", _mistakes, "Confusion matrix of a run, or of two with McNemar's test between them.")
    mistakes.add_argument("run_ids", nargs="+", metavar="RUN_ID", help="one or two")
    mistakes.add_argument("--epoch", type=int, help="default: the last one kept, of each")
    mistakes.add_argument("--json", action="store_true", help="as JSON")
    export = command("export", _export, "A run in plain PyTorch, without cnnviz, or its weights, or a report on it.")
    export.add_argument("run_id", metavar="RUN_ID")
    export.add_argument("--as", dest="kind", choices=tuple(EXPORTS), default="script", help=f"{', '.join(EXPORTS)}")
    export.add_argument("--epoch", type=int, help="of the weights; default: the last one kept")
    export.add_argument("--out", type=Path, help="the file to write; default: run_ and the id, here")
    export.add_argument("--force", action="store_true", help="overwrite what is there")
    report = command("report", _report, "A report on runs, or on the reference study, as one file.")
    report.add_argument("run_ids", nargs="*", metavar="RUN_ID", help="which runs")
    report.add_argument("--study", action="store_true", help="the reference study, parts 1a to 3b")
    report.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        help=".html, or .zip: Markdown and pictures; default: report.html",
    )
    dataset = command("data", _data, "Where CIFAR-10 is and whether it is whole.")
    either = dataset.add_mutually_exclusive_group()
    either.add_argument("--fetch", action="store_true", help="download what is missing")
    either.add_argument("--check", action="store_true", help="verify every checksum")
    return parser


def _program() -> str:
    """As it was called: "cnnviz" is the installed command, "python -m cnnviz" runs from a checkout."""
    return "cnnviz" if Path(sys.argv[0]).stem == "cnnviz" else "python -m cnnviz"


def main(arguments: Sequence[str] | None = None) -> int:
    return terminals.run(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CnnvizError as error:
        print(f"cnnviz: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cnnviz: stopped; every complete epoch is kept", file=sys.stderr)
        return 130
    except OSError:  # the output's
        raise
    except Exception:
        from cnnviz.store.addresses import masked

        print(masked(traceback.format_exc()), end="", file=sys.stderr)  # into a worker's log, too
        return 1
    return 0


# -- train, continue, work -----------------------------------------------------------------------


def _train(options: argparse.Namespace) -> None:
    configs = _grid(options)
    with loading():
        from cnnviz.train import shards

        shards.warm_up(options.device)  # beside the seconds that MLflow takes to load
        from cnnviz.jobs import devices
        from cnnviz.store import changes

    _watch(changes.schedule(configs, devices.resolve(options.device)))


def _grid(options: argparse.Namespace) -> list[RunConfig]:
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    return grid(None, **{name: [parse(name, part) for part in text.split(",")] for name, text in given.items()})


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _continue(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.jobs import devices
        from cnnviz.store import changes

    _watch(changes.continue_runs(options.run_ids, options.epochs, devices.nearest))


def _watch(run_ids: Sequence[str]) -> None:
    """Train these runs here, or watch the worker that holds the device do it. Ctrl-C stops them."""
    with loading():
        from cnnviz.jobs import control, worker
        from cnnviz.jobs.progress import Bar, Lines
        from cnnviz.jobs.status import workers
        from cnnviz.store import changes, reading

    found = sorted({reading.run(run_id).device for run_id in run_ids})
    stops = 0
    with contextlib.closing(Bar(run_ids) if sys.stderr.isatty() else Lines(run_ids)) as shown:
        try:
            for device in found:
                if not worker.work(device, run_ids, shown):
                    shown.write(f"a worker is training on {device}: these runs wait for it, and this window shows it")
            while any(reading.run(run_id).active for run_id in run_ids):
                for status in workers():
                    shown(status)
                control.ensure_worker()
                time.sleep(1)
        except (KeyboardInterrupt, worker.Stopped):
            active = [run_id for run_id in run_ids if reading.run(run_id).active]
            changes.request_stop(active, ended_ok=True)
            stops = len(active)
    control.ensure_worker()  # for what others scheduled meanwhile
    _print_table([reading.run(run_id) for run_id in run_ids])
    failures = [each for run_id in run_ids if (each := reading.run(run_id)).status == "FAILED"]
    if stops:
        raise KeyboardInterrupt
    if failures:
        raise CnnvizError(f"{len(failures)} of {len(run_ids)} runs failed: {failures[0].message}")


def _work(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.train import shards

        shards.warm_up(options.device)
        from cnnviz.jobs import devices, worker
        from cnnviz.store import reading

    if options.stand_by:
        reading.queue(devices.resolve(options.device))  # the store is open then
        if not sys.stdin.readline():
            return

    def say(status: "WorkerStatus", said: list[str] = []) -> None:  # noqa: B006 — remembers the last line
        line = f"{status.phase} {status.message}".strip()
        if said[-1:] != [line]:
            said[:] = [line]
            with contextlib.suppress(OSError):  # a full disk takes no log
                print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}: {count(len(status.runs), 'run')}", flush=True)

    try:
        if not worker.work(options.device, on_status=say):
            print(f"a worker for {devices.resolve(options.device)} is there already")
    except worker.Stopped:
        print("asked to leave: the runs wait for the next worker", flush=True)


def _cluster(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.jobs import devices, engines, nodes

    with engines.connected("cluster") as engine:
        engines.note(engine)
    if found := nodes.seen(devices.cluster_address()):
        print(nodes.headline(found))
        for node in found.nodes:
            print(f"{node.name}: {node.trouble or nodes.used(node)}")


def _stop(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.jobs import control

    control.stop(options.run_ids)


# -- runs ----------------------------------------------------------------------------------------


def _runs(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.store import addresses, reading

    found = reading.runs()
    if options.json:
        print(json.dumps([_row(each) for each in found], indent=1))
    elif found:
        _print_table(found)
    else:
        print(f"no runs yet in {addresses.shown()}: `python -m cnnviz train` trains one")


def _row(run: "Run") -> dict[str, Any]:
    epoch, accuracy = run.best or (None, None)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "epoch": run.epoch,
        "target_epochs": run.config.epochs,
        "best_accuracy": accuracy,
        "best_epoch": epoch,
        "best_val_accuracy": _finite(run.best_val_accuracy),
        "stopped_early": run.stopped_early,
        "last_accuracy": _finite(run.accuracy[-1]) if run.accuracy else None,
        "seconds": run.seconds,
        "device": run.device,
        "elsewhere": run.elsewhere,
        "message": run.message,
        "params": {name: getattr(run.config, name) for name in PARAMETERS},
    }


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None  # JSON knows neither NaN nor infinity


def _print_table(found: Sequence["Run"]) -> None:
    from cnnviz.analysis import leaderboard

    print(f"{'id':8}  {'status':9}  {'epochs':>7}  {'best':>14}  {'last':>7}  {'time':>10}  name")
    for run in found:
        best = f"{run.best[1]:7.2%} @ {run.best[0]:<4}" if run.best else ""
        last = f"{run.accuracy[-1]:7.2%}" if run.accuracy else ""
        epochs = f"{max(run.epoch, 0)}/{run.config.epochs}"
        said = "; ".join(each for each in (leaderboard.place(run), leaderboard.note(run)) if each)
        note = f"  ({said})" if said else ""
        print(
            f"{run.id[:8]}  {run.status:9}  {epochs:>7}  {best:>14}  {last:>7}  "
            f"{duration(run.seconds):>10}  {run.name}{note}"
        )


# -- features and mistakes -----------------------------------------------------------------------


def _features(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz.inspection import recorded
        from cnnviz.inspection.network import predict
        from cnnviz.render.exports import format_of, picture_file
        from cnnviz.render.maps import caption, sheet
        from cnnviz.store import artifacts, reading

    format_of(options.out)
    run = reading.run(options.run_id)
    kept = artifacts.epochs_to_open(run)
    weights = artifacts.load_checkpoint(run, kept[-1] if options.epoch is None else options.epoch)
    network = recorded.of(run, weights)
    layer = options.layer or _default_layer(run.architecture)
    images, labels, classes = _pictures(options.images, run)
    picture = sheet(network, images, labels, layer, classes)
    content = picture_file(picture, options.out)
    _write({options.out: content}, force=True)
    prediction = predict(network, images)
    for index, label in enumerate(labels):
        print(f"{index}: {caption(prediction, index, label, classes)}")
    print(f"{layer} of {run.name}, {picture.width}×{picture.height} pixels: {options.out}")


def _default_layer(arch: "Architecture") -> str:
    from cnnviz.inspection.network import last_maps, output_step

    return last_maps(arch) or output_step((arch.layers[:-1] or arch.layers)[-1])


def _pictures(wanted: Sequence[str], run: "Run") -> tuple["Tensor", list[int | None], Sequence[str]]:
    """uint8 (N, 32, 32, 3), the true class of each, None if it is not known, and the classes' names."""
    import torch

    from cnnviz import data
    from cnnviz.data.pictures import open_picture, prepare

    dataset = data.load(run.config.dataset)
    named: list[int | Path] = []
    for each in wanted:
        found = _indices(each[5:], len(dataset.test_labels)) if each.startswith("test:") else [Path(each)]
        named += itertools.islice(found, MAX_PICTURES + 1)
        if len(named) > MAX_PICTURES:
            raise CnnvizError(f"--images names more than the {MAX_PICTURES} pictures a sheet shows: name fewer")
    pixels = [
        prepare(open_picture(each, each.name)).pixels if isinstance(each, Path) else dataset.test_images[each]
        for each in named
    ]
    labels = [None if isinstance(each, Path) else int(dataset.test_labels[each]) for each in named]
    return torch.stack(pixels), labels, dataset.classes


def _indices(text: str, size: int) -> Iterator[int]:
    """The numbers that "3,8" or "0-9" name, each less than size."""
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < size:
            raise CnnvizError(
                f"images test:{text} are not in the test set: write test:0-9 or test:3,8, up to {size - 1}"
            )
        yield from range(first, last + 1)


def _mistakes(options: argparse.Namespace) -> None:
    if len(options.run_ids) > 2:
        raise CnnvizError(f"mistakes takes one run or two, not {len(options.run_ids)}: name fewer")
    with loading():
        from cnnviz import data
        from cnnviz.store import artifacts, reading

    runs = [reading.run(run_id) for run_id in options.run_ids]
    if len({run.config.dataset for run in runs}) > 1:
        raise CnnvizError("the runs have different data sets: choose two of the same")
    epochs = [artifacts.epochs_to_open(run)[-1] if options.epoch is None else options.epoch for run in runs]
    try:
        dataset = data.load_test(runs[0].config.dataset)
    except DataError:
        dataset = data.load(runs[0].config.dataset)  # fetched, or drawn

    with loading():
        from cnnviz.inspection import outputs
        from cnnviz.render import mistake_tables

    found = []
    for run, epoch in zip(runs, epochs, strict=True):
        with _bar() as show:
            prediction = outputs.of(run, epoch, dataset, show)
        found.append(mistake_tables.result(run, epoch, prediction, dataset.test_labels, dataset.classes))
    if options.json:
        one_or_two = mistake_tables.as_data if len(found) == 1 else mistake_tables.pair_as_data
        print(json.dumps(one_or_two(*found)))
    else:
        said = mistake_tables.as_text if len(found) == 1 else mistake_tables.pair_as_text
        print(said(*found))


def _report(options: argparse.Namespace) -> None:
    if options.study == bool(options.run_ids):
        raise CnnvizError("report takes RUN_IDs or --study: `python -m cnnviz runs` lists the runs")
    if options.out.suffix.lower() not in (".html", ".zip"):
        raise CnnvizError(f"{options.out} ends neither in .html nor in .zip: choose another --out")
    if not options.out.absolute().parent.is_dir():
        raise CnnvizError(f"{options.out.parent} is no folder: make it, or choose another --out")
    with loading():
        from cnnviz.render.report import archive, document, page
        from cnnviz.store import reading, reports

    chosen = list(dict.fromkeys(reading.run(run_id).id for run_id in options.run_ids))
    with _bar() as show:
        made = document.make(reports.load(chosen), show)
        is_zip = options.out.suffix.lower() == ".zip"
        content = archive.as_zip(made, show) if is_zip else page.as_html(made, show).encode()
    try:
        options.out.write_bytes(content)
    except OSError as error:
        raise CnnvizError(f"cannot write {options.out}: {error.strerror}; choose another --out") from error
    print(f"{made.title}, {len(content) / 1e6:.1f} MB: {options.out}")


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, and nothing elsewhere, for what takes seconds."""
    from tqdm import tqdm

    with tqdm(
        total=100, bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining}", disable=None, leave=False, delay=1
    ) as bar:

        def show(message: str, fraction: float) -> None:
            if not bar.disable:
                bar.set_description_str(message, refresh=False)
                bar.update(round(100 * fraction) - bar.n)

        yield show


# -- export and data -----------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> None:
    if options.epoch is not None and options.kind != "weights":
        raise CnnvizError(f"a {options.kind} trains all epochs: --epoch is for --as weights")
    with loading():
        from cnnviz.render import code
        from cnnviz.store import artifacts, reading

    run = reading.run(options.run_id)
    if options.kind == "report":
        out = options.out or Path(f"run_{run.id[:8]}.html")
        if out.exists() and not options.force:
            raise CnnvizError(f"{out} exists: choose another --out, or overwrite it with --force")
        _report(argparse.Namespace(study=False, run_ids=[run.id], out=out))
        return
    epoch = options.epoch
    if options.kind == "weights" and epoch is None:
        epoch = artifacts.epochs_to_open(run)[-1]
    out = options.out or Path(code.file_name(run, options.kind, epoch))
    if options.kind == "weights":
        files = {out: code.weights(run, epoch)}
    else:
        files = {out: (code.script if options.kind == "script" else code.notebook)(run).encode()}
        if run.parent:
            files[out.with_name(code.start_file(run))] = code.start_weights(run)
    _write(files, options.force)
    print(f"{run.name}, {options.kind}: {out}")
    for start in [path for path in files if path != out]:
        print(f"the weights that it starts from: {start}; it reads them from the folder that it is run in")
    if options.kind == "weights":
        print(f"\n{code.loading(run, out.name)}", end="")


def _write(files: Mapping[Path, bytes], force: bool) -> None:
    """All of them, or none if one would overwrite something else. Raises CnnvizError."""
    for path, content in files.items():
        if path.is_file() and not force and path.read_bytes() != content:
            raise CnnvizError(f"{path} exists: choose another --out, or overwrite it with --force")
    for path, content in files.items():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise CnnvizError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def _data(options: argparse.Namespace) -> None:
    with loading():
        from cnnviz import data, paths

    if options.fetch:
        _fetch()
    if options.check or options.fetch:
        print(data.check())
    elif data.available("cifar10"):
        print(f"CIFAR-10 is in {paths.data_root()}; --check verifies it")
    else:
        print(f"CIFAR-10 is not in {paths.data_root()}: --fetch downloads it, or set CNNVIZ_DATA to its folder")


def _fetch() -> None:
    from tqdm import tqdm

    from cnnviz import data

    with tqdm(total=100, unit="%", bar_format="{desc} {percentage:3.0f}%|{bar}|", disable=None) as bar:
        tenths: list[int] = []

        def show(message: str, fraction: float) -> None:
            if not bar.disable:
                bar.set_description_str(message, refresh=False)
                bar.n = round(100 * fraction)
                bar.refresh()
            elif int(10 * fraction) not in tenths:  # not a terminal: a line a tenth
                tenths.append(int(10 * fraction))
                print(message, file=sys.stderr, flush=True)

        data.fetch(show)


if __name__ == "__main__":
    sys.exit(main())
