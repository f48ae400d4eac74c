"""What was trained, what was expected of it, and what came: words and tables."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from cnnviz.analysis import comparison, launches, leaderboard, predictions
from cnnviz.analysis.comparison import labels, text
from cnnviz.analysis.costs import WAYS
from cnnviz.analysis.evidence import TEST_PICTURES
from cnnviz.analysis.headline import headline
from cnnviz.analysis.study import EPOCHS
from cnnviz.config import SETTINGS
from cnnviz.data import TITLES
from cnnviz.render.report.pieces import Fold, Heading, Piece, Table, Text
from cnnviz.render.report.sources import Sources
from cnnviz.store.runs import Run
from cnnviz.wording import duration, listed

PROGRAMS = ("cnnviz", "torch", "torchvision", "mlflow", "scikit-learn")
MARKS = {True: "✓ as expected", False: "✗ otherwise", None: "– in part"}


def setup(sources: Sources) -> Iterator[Piece]:
    """Question and set-up."""
    runs = sources.runs
    if sources.parts:
        yield Text(
            "What do learning rate, activation, loss, kernel size and depth do to a small convolutional network, and "
            f"why does one learn where another stalls, diverges or overfits? Every part is trained for {EPOCHS} epochs."
        )
    if not runs:
        yield Text("Nothing is trained yet.", "missing")
        return
    title, sentences = headline(runs, sources.findings)
    yield Text(". ".join([title, *sentences]) + ".")
    for name in dict.fromkeys(run.config.dataset for run in runs):
        pictures = sorted({run.config.train_size for run in runs if run.config.dataset == name})
        shown = " or ".join(f"{each:,}" for each in pictures)
        held_out = {run.config.validation for run in runs if run.config.dataset == name and run.config.validation}
        if held_out:
            shown += f" training, {' or '.join(f'{each:,}' for each in sorted(held_out))} validation"
        else:
            shown += " training"
        words = f"Data: {TITLES[name]}, {shown} and {TEST_PICTURES:,} test pictures of 32×32 pixels in 10 classes."
        if name == "synthetic":
            words += " These pictures are drawn by a program; their figures do not compare with those of photographs."
        yield Text(words, "note" if name == "synthetic" else "plain")
    rows = [(SETTINGS[name].title, _values(runs, name)) for name in ("optimizer", "batch_size", "seed")]
    names = [name for name in comparison.differing(runs) if name not in ("optimizer", "batch_size", "seed", "dataset")]
    rows += [(SETTINGS[name].title, _values(runs, name)) for name in names]
    segments = [segment for run in runs for segment in run.segments]
    rows.append(("Trained on", "; ".join(dict.fromkeys(segment.device for segment in segments)) or "–"))
    ways = dict.fromkeys(WAYS.get(segment.method, "") for segment in segments)
    rows.append(("Steps were run", "; ".join(way for way in ways if way) or "–"))
    first, last = min(run.created for run in runs), max(run.created for run in runs)
    span = f"{first:%d %B %Y}" + (f" to {last:%d %B %Y}" if last.date() != first.date() else "")
    rows.append(("Runs made on", span))
    rows.append(("Report made with", ", ".join(_versions())))
    yield Table(("", "in this report"), rows, words=frozenset({0, 1}))


def _values(runs: Sequence[Run], name: str) -> str:
    return ", ".join(text(value) for value in sorted({getattr(run.config, name) for run in runs}))


def _versions() -> Iterator[str]:
    for name in PROGRAMS:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:  # cnnviz run from a checkout
            continue


def predicted(sources: Sources) -> Iterator[Piece]:
    """What was expected before the training began, and what came."""
    asked = [runs for runs in predictions.answered(sources.runs) if not any(run.active for run in runs)]
    if not asked:
        yield Text(
            "Nothing was predicted before these runs began. cnnviz asks when a preset is trained for the first time, "
            "and keeps the answers with the runs.",
            "missing",
        )
    for runs in asked:
        yield Heading(launches.title(runs))
        rows = [
            (each.question, each.said, each.came, MARKS[each.right])
            for each in predictions.verdicts(runs, sources.findings)
        ]
        yield Table(("question", "expected", "what happened", ""), rows, words=frozenset(range(4)))
        if said := runs[0].predicted:
            yield Text(
                f"Answered on {datetime.fromtimestamp(said.at):%d %B %Y, %H:%M}, before the training began.", "note"
            )


def table(sources: Sources) -> Iterator[Piece]:
    """Runs, the best first."""
    runs = sources.of_part("1a")
    if not runs:
        return
    names = leaderboard.columns(runs)
    top = leaderboard.best(runs)
    ordered = leaderboard.ordered(runs)
    rows = []
    for run in ordered:
        epoch, value = run.best or (None, math.nan)
        rows.append(
            (
                *(leaderboard.value(run, name) for name in names),
                percent(value),
                "–" if epoch is None else str(epoch),
                percent(run.accuracy[-1] if run.accuracy else math.nan),
                str(max(run.epoch, 0)),
                duration(run.seconds),
                run.id[:8],
            )
        )
    heads = (*(leaderboard.heading(name) for name in names), "best", "at epoch", "last", "epochs", "time", "run")
    words = frozenset({*(place for place, name in enumerate(names) if name != "lr"), len(heads) - 1})
    strong = frozenset(place for place, run in enumerate(ordered) if run.id in top)
    said = f"Test accuracy in %; best epochs were {leaderboard.chosen_by(runs)}. All runs: {leaderboard.shared(runs)}"
    yield Table(heads, rows, said, words, strong)
    if any(run.config.name != run.name for run in runs):
        named = [f"{run.id[:8]}: {run.name}" for run in ordered if run.config.name != run.name]
        yield Text(f"Names that are not made of the settings: {listed(named, '; ')}", "note")
    yield from _seeds(runs)
    if len(runs) > 1:
        yield Fold("Test accuracy after every epoch", list(by_epoch(runs)))


def _seeds(runs: Sequence[Run]) -> Iterator[Piece]:
    groups = [group for group in comparison.repeats(runs) if len(group.best()) > 1]
    if not groups:
        yield Text(
            "Every setting was trained with one seed, so how far equal settings lie apart is not known. "
            f"{TEST_PICTURES:,} test pictures alone leave ±1 point.",
            "note",
        )
        return
    names = comparison.described([group.config for group in groups])
    rows = [
        (name, str(len(group.best())), f"{100 * group.mean:.2f}", f"{100 * group.spread:.2f}")
        for name, group in zip(names, groups, strict=True)
    ]
    yield Table(
        ("setting", "seeds", "mean best (%)", "± standard deviation"), rows, "The same setting with other seeds"
    )


def by_epoch(runs: Sequence[Run]) -> Iterator[Piece]:
    """The test accuracy of each run after each epoch."""
    names = labels(runs)
    last = max(run.epoch for run in runs)
    rows = [
        (
            str(epoch),
            *(
                percent(run.accuracy[epoch - run.first_epoch])
                if 0 <= epoch - run.first_epoch < len(run.accuracy)
                else ""
                for run in runs
            ),
        )
        for epoch in range(last + 1)
    ]
    yield Table(("epoch", *(names[run.id] for run in runs)), rows, "Test accuracy in %", words=frozenset())


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if math.isfinite(share) else "–"
