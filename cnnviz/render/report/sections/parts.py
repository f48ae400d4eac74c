"""The study's later parts, against the first; and what is still to be trained for any of them."""

import math
from collections.abc import Iterator, Sequence

from cnnviz.analysis.comparison import Repeats, labels, verdict
from cnnviz.analysis.evidence import accuracy
from cnnviz.analysis.study import CONTINUED, EPOCHS, Part
from cnnviz.config import DEFAULTS, PARAMETERS, RunConfig
from cnnviz.inspection.agreement import Pair
from cnnviz.render import mistake_tables
from cnnviz.render.report.pieces import Commands, Heading, Piece, Text
from cnnviz.render.report.sections import inside, lines, reasons, wrong
from cnnviz.render.report.sources import Sources, best
from cnnviz.store.runs import Run
from cnnviz.wording import count, listed, p_value

COMMAND = "python -m cnnviz"


def to_train(part: Part) -> Iterator[Piece]:
    """What a part still lacks, and how to have it."""
    if part.train:
        yield Text(
            f"Part {part.key} still lacks {count(len(part.train), 'network')}. Train from Home, or with:", "missing"
        )
        yield Commands("\n".join(commands(part.train)))
    for epochs, ids in part.resume.items():
        what = f"{count(epochs, 'epoch')} of {count(len(ids), 'network')}"
        yield Text(f"Part {part.key} still lacks {what}. Continue from Home, or with:", "missing")
        yield Commands(f"{COMMAND} continue {' '.join(run_id[:8] for run_id in ids)} --epochs {epochs}")


def commands(configs: Sequence[RunConfig]) -> list[str]:
    """Lines that train these: one, if they are all combinations of their values."""
    names = [*PARAMETERS, "epochs"]
    values = {name: list(dict.fromkeys(getattr(config, name) for config in configs)) for name in names}
    combinations = 1
    for each in values.values():
        combinations *= len(each)
    if combinations != len(configs):
        return [line for config in configs for line in commands([config])]
    said = [COMMAND, "train"]
    for name, some in values.items():
        default = configs[0].default(name) if name != "epochs" else DEFAULTS["epochs"]
        if some != [default] or name == "model":
            said.append(f"--{name.replace('_', '-')} {','.join(_spelled(value) for value in some)}")
    return [" ".join(said)]


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def longer(sources: Sources) -> Iterator[Piece]:
    """1a's run that was taken on."""
    runs = [run for run in sources.of_part("1a") if run.epoch > EPOCHS]
    if not runs:
        return
    yield from against(sources, runs)
    for run in runs:
        before = (run.best_within(EPOCHS) or (0, math.nan))[1]
        yield Text(
            f"{run.name}: at best {accuracy(before)} within {EPOCHS} epochs, {accuracy(run.best_accuracy)} within "
            f"{run.epoch}; the last epoch has {accuracy(run.accuracy[-1])}."
        )


def smaller(sources: Sources) -> Iterator[Piece]:
    """2a against 1a's best."""
    runs = sources.of_part("2a")
    if not runs:
        return
    yield from against(sources, [*_best(sources, "1a"), *runs])
    yield from reasons.layer_tables([*_best(sources, "1a"), *runs])
    yield Heading("Its feature maps")
    yield from inside.ten(sources, runs[0])


def deeper(sources: Sources) -> Iterator[Piece]:
    """3a: how long it took and why, and its layers."""
    runs = sources.of_part("3a")
    if not runs:
        return
    yield from lines.drawn(sources, runs)
    yield Heading("How long it took, and why")
    yield from reasons.why_so_long(sources, [*_best(sources, "1a"), *sources.of_part("2a"), *runs])
    yield Heading("Its layers")
    yield from reasons.layer_tables(runs)


def comparison(sources: Sources) -> Iterator[Piece]:
    """1a's best, 2a and 3a: each run's epochs as one line, continued or not."""
    runs = [run for key in ("1a", "2a", "3a") for run in _best(sources, key)]
    if len(runs) < 2:
        yield Text("It takes at least two of 1a's best, 2a and 3a.", "missing")
        return
    yield from against(sources, runs)
    short = [f"{run.config.model} for {run.epoch}" for run in runs if run.epoch < CONTINUED]
    if short:
        yield Text(f"Trained for less than {CONTINUED} epochs so far: {listed(short)}.", "missing")


def against(sources: Sources, runs: Sequence[Run]) -> Iterator[Piece]:
    """Their curves, and whether their difference is more than noise."""
    yield from lines.drawn(sources, runs)
    names, first = labels(runs), best(runs)
    for run in runs:
        if first is None or run.id == first.id or not run.best:
            continue
        found = verdict(Repeats((run,)), Repeats((first,)))
        yield Text(f"{names[first.id]} against {names[run.id]}: {found.sentence}")
        if run.config.dataset == first.config.dataset and sources.has_weights(run) and sources.has_weights(first):
            yield Text(_who_is_right(sources, first, run, names[first.id], names[run.id]))


def _who_is_right(sources: Sources, a: Run, b: Run, name: str, other: str) -> str:
    """McNemar's test after the last epochs that are kept."""
    both = [wrong.result(sources, run) for run in (a, b)]
    found: Pair = mistake_tables.compared(*both)
    one_alone = len(found.only_a) + len(found.only_b)
    luck = "more than luck would explain" if found.p < mistake_tables.LIKELY else "luck may explain the difference"
    return (
        f"After their last epochs, {name} alone gets {len(found.only_a):,} test pictures right and {other} alone "
        f"{len(found.only_b):,}. McNemar's exact p over these {one_alone:,} {p_value(found.p)}: {luck}."
    )


def _best(sources: Sources, key: str) -> list[Run]:
    found = best(sources.of_part(key)) if sources.parts else None
    return [found] if found else []
