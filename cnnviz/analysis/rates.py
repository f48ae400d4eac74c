"""Findings on what a run's plan did: a schedule's step that lowers the loss, patience that ends the run early."""

import numpy as np

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import ENOUGH, Finding, RunLines, figure, percent
from cnnviz.train.stopping import watched

FALLEN = 0.9  # times the rate of the epoch before, or less: a step within an epoch changes its mean by half or so
DROP = 0.03  # of the train loss: less is not seen on a chart
BEYOND = 2.0  # times what the loss fell by in as many epochs before: more than it was falling anyhow
CLEAR = 3.0  # times the noise of an epoch


def rate_drop(run: RunLines) -> Finding | None:
    """A train loss that drops where the rate does: shorter steps no longer jump across the minimum."""
    if run.config.schedule != "step":
        return None
    rates, line = run.line("learning_rate"), run.line("train_loss")
    falls = rates.index[(rates <= FALLEN * rates.shift()).to_numpy()]
    found: list[tuple[int, float, float]] = []
    for epoch in (int(each) for each in falls if each - 1 not in falls):  # of one that takes two epochs, the first
        before, after = line.loc[epoch - ENOUGH : epoch - 1], line.loc[epoch + 1 : epoch + ENOUGH]
        if len(before) < ENOUGH or len(after) < 2:
            continue
        high, low = float(np.median(before)), float(np.median(after))
        usual = max(float(before.iloc[0] - before.iloc[-1]) / (ENOUGH - 1), 0.0) * (ENOUGH + 1)
        if high - low > max(DROP * high, BEYOND * usual, CLEAR * trends.noise(line)):
            found.append((epoch, high, low))
    if not found:
        return None
    epoch, high, low = max(found, key=lambda each: each[1] - each[2])
    faster, slower = float(rates[epoch - 1]), float(rates.loc[epoch : epoch + 1].min())
    constant = run.try_anew("a constant rate", schedule="constant", warmup=0, schedule_epochs=0)
    return Finding(
        "rate_drop",
        "note",
        f"The schedule's step at epoch {epoch} lowers the loss",
        f"At epoch {epoch} the learning rate falls from {figure(faster)} to {figure(slower)}, and the train loss from "
        f"{figure(high)} to {figure(low)} (−{percent(1 - low / high)}), more than it fell by in as many epochs before. "
        "With long steps it had jumped across the minimum; shorter ones reach it.",
        f"A run with {constant.what} whose loss falls as much there.",
        epoch,
        {"before": high, "after": low, "rate": slower},
        constant,
    )


def stopped_early(run: RunLines) -> Finding | None:
    """Before its last epoch, as the validation loss got no lower."""
    config, losses = run.config, run.line("val_loss")
    if losses.empty or run.end >= config.epochs:
        return None
    best = watched(((int(epoch), float(loss)) for epoch, loss in losses.items()), run.start)
    if not best.has_run_out(run.end, config.patience):
        return None
    endless = run.try_anew("no early stopping", patience=0)
    return Finding(
        "stopped_early",
        "note",
        f"Stopped early at epoch {run.end}",
        f"The validation loss was lowest at epoch {best.epoch}, {figure(best.loss)}, and in none of the "
        f"{config.patience} epochs after it lower: with that patience training stops, {config.epochs - run.end} epochs "
        "before its time.",
        f"A run with {endless.what} whose validation loss gets lower than {figure(best.loss)}.",
        run.end,
        {"lowest": best.loss, "epoch": float(best.epoch)},
        endless,
    )
