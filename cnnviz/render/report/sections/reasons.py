"""Why: findings with their evidence, and the time that training took."""

from collections.abc import Iterator, Sequence

from cnnviz.analysis import costs, groups, trials
from cnnviz.analysis.comparison import labels
from cnnviz.render.report.pieces import Fold, Heading, Piece, Table, Text
from cnnviz.render.report.sources import Sources
from cnnviz.store.runs import Run
from cnnviz.wording import duration

UNKNOWN = "–"


def findings(sources: Sources) -> Iterator[Piece]:
    """What the curves show, said once of all runs that show it, and what would prove it wrong."""
    runs = [run for run in sources.of_part("1a") if run.epoch > 0]
    found = groups.groups(runs, sources.findings)
    names = labels(runs)
    if not found and runs:
        yield Text("Nothing stands out in these curves.")
    for group in found:
        yield Heading(group.says + (f": {group.who}" if group.who else ""))
        plans = {each.run.id: each for each in trials.planned(group.members, sources.newest)}
        run, one = group.members[0]
        alone = len(group.members) == 1
        yield Text(one.sentence if alone else f"{names[run.id]}: {one.sentence}")
        yield Text(f"What would prove it wrong: {one.refutes}")
        if run.id in plans and (said := trials.said(plans[run.id])):
            yield Text(f"Tried: {plans[run.id].trial.what}. {said}")
        if not alone:
            yield Fold(
                f"The evidence of {'both' if len(group.members) == 2 else f'all {len(group.members)}'}",
                [
                    Table(
                        ("run", "evidence", "tried"),
                        [(names[run.id], each.sentence, _tried(plans.get(run.id))) for run, each in group.members],
                        words=frozenset({0, 1, 2}),
                    )
                ],
            )


def _tried(plan: trials.Planned | None) -> str:
    said = trials.said(plan) if plan else ""
    return f"{plan.trial.what}: {said}" if plan and said else UNKNOWN


def time_taken(sources: Sources) -> Iterator[Piece]:
    """How long it took, and why."""
    yield from why_so_long(sources, sources.runs)


def why_so_long(sources: Sources, runs: Sequence[Run]) -> Iterator[Piece]:
    trained = [run for run in runs if run.epoch > 0]
    found = costs.costs(trained, sources.history[sources.history.metric == "images_per_second"])
    if not found:
        return
    yield Text(costs.explain(found))
    names = labels([cost.run for cost in found])
    rows = [
        (
            names[cost.run.id],
            str(cost.run.epoch),
            duration(cost.seconds),
            str(cost.stack),
            duration(cost.own_seconds),
            f"{cost.images_per_second:,.0f}" if cost.images_per_second > 0 else UNKNOWN,
            f"{cost.parameters:,}",
            f"{cost.multiply_adds:,}",
        )
        for cost in found
    ]
    heads = ("run", "epochs", "time", "networks at once", "own share", "images/s", "parameters", "multiply-adds")
    yield Table(heads, rows, "Time of training and evaluation; own share: divided by the networks trained at once")


def layers(sources: Sources) -> Iterator[Piece]:
    """The layer table of each network."""
    yield from layer_tables(sources.runs)


def layer_tables(runs: Sequence[Run]) -> Iterator[Piece]:
    for arch in {run.config.model: run.architecture for run in runs}.values():
        rows = [
            (
                layer.name,
                layer.kind,
                "×".join(map(str, layer.output)),
                f"{layer.receptive_field}×{layer.receptive_field}",
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
            )
            for layer in arch.layers
        ]
        rows.append(("all", "", "", "", f"{arch.parameters:,}", f"{arch.multiply_adds:,}"))
        heads = ("layer", "kind", "output", "sees pixels", "parameters", "multiply-adds")
        title = f"{arch.name}: {arch.parameters:,} parameters"
        yield Table(heads, rows, title, frozenset({0, 1}), frozenset({len(rows) - 1}))
