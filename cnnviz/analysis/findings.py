"""A run's history → findings: what its curves show, with their evidence and what would refute them.

Robust statistics (analysis.trends) of a run's lines (analysis.evidence), so that one spike decides nothing. Every
threshold is a named constant with its reason.
"""

import math
from collections.abc import Callable

import pandas as pd

from cnnviz.analysis import milestones, trends
from cnnviz.analysis.evidence import (
    BOUNCE,
    CHANCE,
    CHANCE_NOISE,
    ENOUGH,
    LARGE_UPDATE,
    PER_LAYER,
    SIGMAS,
    STALLED,
    STALLED_FROM,
    TEST_PICTURES,
    VANISHED,
    Finding,
    RunLines,
    Trial,
    accuracy,
    figure,
    finite,
    first_epoch,
    holds_since,
    of_weights,
    percent,
    try_more,
)
from cnnviz.architectures import architecture
from cnnviz.config import RunConfig

KINDS = (
    *("diverged", "lr_too_high", "chance_level", "vanishing_gradients", "dead_relus", "overfitting"),
    *("saturated_units", "slow_start", "lr_too_low", "still_improving", "converged"),
)
EXPLODED = 10.0  # times the loss of guessing, or of the untrained network
EARLY = 5_000  # updates, as in an epoch of batches of 10: after fewer, being at chance level means little
MOVING = 2.0  # times its smallest: a first layer's gradient that has grown this much is leaving the plateau
STEEPEST = {"sigmoid": 0.25}  # slope of an activation; the others' is about 1
SATURATED = 0.5  # of a layer's units where the activation is flat: most of the layer hardly learns
SILENT, DEAD = 0.90, 0.99  # of a ReLU layer's outputs are 0; about half is usual
RISE = 0.02  # of the lowest test loss: less is not worth acting on, even if it is no noise
RISING = 3.5  # standard errors of the slope since the lowest point, picked for being low: 1 or 2 % of flat lines pass
FALL = 0.05  # of the train loss: it must keep falling while the test loss rises, or it is no overfitting
OVERFITTING_FROM = 6  # epochs: ENOUGH up to a lowest point, and ENOUGH after it
FEW = 0.02  # of a layer's units


def metric_names(config: RunConfig) -> list[str]:
    """The metrics that diagnose() reads; without one of them, only the findings based on it are missing."""
    layers = [layer.name for layer in architecture(config.model).weight_layers]
    plain = [f"{split}_{what}" for what in ("loss", "accuracy") for split in ("train", "test")]
    return [*plain, "train_accuracy_exact", *(f"{kind}/{layer}" for kind in PER_LAYER for layer in layers)]


def diagnose(config: RunConfig, history: pd.DataFrame) -> list[Finding]:
    """The findings on one run, alarms first; a run that diverged has that finding only.

    history: columns metric, epoch and value of one run, as reading.history returns them; NaN and infinity are values
    that were recorded. Metrics may be missing and the run may still be training: findings are about what is there.
    """
    run = RunLines(config, history)
    dead = _diverged(run)
    if dead is not None:
        return [dead]  # the last finite values of a run that diverged mean nothing
    found = [finding for finding in (find(run) for find in _FINDERS) if finding is not None]
    return sorted(found, key=lambda finding: finding.severity != "alarm")


def _diverged(run: RunLines) -> Finding | None:
    for metric in ("train_loss", "test_loss"):
        line = run.recorded(metric)
        if len(line):
            found = _death(run, metric.replace("_", " "), line)
            if found is not None:
                return found
    return None


def _death(run: RunLines, name: str, line: pd.Series) -> Finding | None:
    sound = finite(line)
    limit = EXPLODED * max([run.guessing_loss, *sound.loc[:0]])
    if math.isfinite(line.iloc[-1]):
        if trends.level(sound) <= limit:
            return None
        epoch = holds_since(trends.smooth(sound) > limit)
        what = f"is over {EXPLODED:.0f} times that of guessing"
    else:
        epoch = int(line.index[line.index > (sound.index[-1] if len(sound) else -1)][0])
        what = "is not a number" if math.isnan(line[epoch]) else "is infinite"
    before = sound[sound.index < epoch]
    after = f", after {figure(before.iloc[-1])} at epoch {before.index[-1]}" if len(before) else ""
    longest = max((line.max() for line in map(run.line, _updates(run)) if len(line)), default=0.0)
    steps = f" A step changed up to {of_weights(longest)} of a layer's weights." if longest >= LARGE_UPDATE else ""
    return Finding(
        "diverged",
        "alarm",
        f"Diverged at epoch {epoch}",
        f"The {name} {what} from epoch {epoch} on{after}: each step overshot by more than the one before it.{steps}",
        "A run with a tenth of the learning rate that diverges as well: then the size of the steps is not the cause.",
        epoch,
        {"epoch": float(epoch), "update_ratio": float(longest)},
        run.try_rate(0.1),
    )


def _updates(run: RunLines) -> list[str]:
    return [f"update_ratio/{layer}" for layer in run.layers]


def _lr_too_high(run: RunLines) -> Finding | None:
    line, rises, bouncing = run.line("train_loss"), run.rises, run.bouncing
    if len(line) < STALLED_FROM or not (bouncing or run.overstepping):
        return None
    now = trends.level(line)
    layer, update = run.largest_update
    if bouncing:
        epoch = first_epoch(rises)
        words = [
            f"The train loss rose by more than {percent(BOUNCE)} in {rises.sum()} of {len(rises)} epochs, "
            "which is more than the noise of a mean over the whole training set."
        ]
    else:
        epoch = first_epoch(trends.smooth(line) <= now * (1 + STALLED))
        correct = run.line("train_accuracy")
        with_accuracy = f", {accuracy(trends.level(correct))} of the training pictures right," if len(correct) else ""
        words = [
            f"The train loss has stalled at {figure(now)}{with_accuracy} since epoch {epoch}: over the last third it "
            f"fell by less than {percent(STALLED)}."
        ]
    if update:
        usual = f"from {percent(LARGE_UPDATE)} it counts as large; about 0.1 % is usual"
        words.append(f"A step still changes {layer} by {of_weights(update)} of its weights ({usual}).")
    if not bouncing:
        words.append("Steps this large jump across the minimum instead of approaching it.")
    slower = run.try_rate(0.1)
    rate = slower.label.removeprefix("Try ") if slower else "a lower rate"
    return Finding(
        "lr_too_high",
        "alarm",
        f"Learning rate {run.config.lr:g} is too high",
        " ".join(words),
        f"A run at {rate} whose train loss gets no lower.",
        epoch,
        {"train_loss": now, "update_ratio": update, "rises": float(rises.sum())},
        slower,
    )


def _chance_level(run: RunLines) -> Finding | None:
    if not run.at_chance:
        return None
    line, guessing = run.line("test_accuracy"), run.guessing
    epoch, has_learned = int(line.index[-1]), not guessing.all()
    since = holds_since(guessing) if guessing.iloc[-1] else epoch
    updates = epoch * run.config.steps_per_epoch
    is_early = len(line) < ENOUGH or updates < EARLY
    span = f"at epoch {epoch}" if len(line) < ENOUGH else f"over the last {ENOUGH} of {epoch} epochs"
    bound = CHANCE + SIGMAS * CHANCE_NOISE
    words = [
        f"Test accuracy is {accuracy(trends.level(line))} {span}; guessing gives {percent(CHANCE)} ± "
        f"{100 * SIGMAS * CHANCE_NOISE:.1f} points on {TEST_PICTURES:,} pictures."
    ]
    if line.max() > bound:
        words.append(f"It was {accuracy(line.max())} at epoch {line.idxmax()} and fell back.")
    words += _loss_of_guessing(run)
    first, last = run.layers[0], run.layers[-1]
    if run.fold >= VANISHED:
        words.append(f"The gradient that reaches {first} is {run.fold:,.0f} times smaller than {last}'s.")
    growth = _growth(run)
    layer, update = run.largest_update
    trial: Trial | None
    if is_early:
        words.append(f"It is early: {updates:,} updates so far.")
        trial = try_more(line)
    elif update >= LARGE_UPDATE or has_learned:
        words += [f"A step changes {layer} by {of_weights(update)} of its weights."] if update else []
        trial = run.try_rate(0.1)
    elif growth >= MOVING:
        words.append(f"But it has begun to move: {first}'s gradient is {growth:.1f} times its minimum.")
        trial = try_more(line)
    else:
        trial = run.try_rate(10)
    title = "Still at chance level" if is_early else "Never left chance level"
    return Finding(
        "chance_level",
        "note" if is_early else "alarm",
        f"Fell back to chance level at epoch {since}" if has_learned else title,
        " ".join(words),
        "More epochs of the same run that lift the accuracy above chance level: then it was only slow.",
        since,
        {"test_accuracy": trends.level(line), "noise": CHANCE_NOISE, "fold": run.fold, "growth": growth},
        trial,
    )


def _loss_of_guessing(run: RunLines) -> list[str]:
    line = run.line("test_loss")
    if line.empty:
        return []
    now = trends.level(line)
    if abs(now / run.guessing_loss - 1) < STALLED:
        return [f"The test loss, {now:.4g}, is that of giving every class the same share ({run.guessing_loss:.4g})."]
    return [f"The test loss is {now:.4g}; giving every class the same share costs {run.guessing_loss:.4g}."]


def _growth(run: RunLines) -> float:
    """The first layer's gradient now, as a multiple of its minimum since training began; 0: not recorded."""
    line = run.line(f"grad_norm/{run.layers[0]}")
    smallest = trends.smooth(line).min() if len(line) else 0.0
    return float(trends.level(line) / smallest) if smallest > 0 else 0.0


def _vanishing_gradients(run: RunLines) -> Finding | None:
    fold, norms = run.fold, run.levels("grad_norm")
    if fold < VANISHED:
        return None
    name, first, last = run.config.activation, run.layers[0], run.layers[-1]
    depth = len(run.layers) - 1  # activations in between
    chain = ", ".join(f"{layer} {figure(norm)}" for layer, norm in reversed(norms.items()))
    words = [
        f"From {last} back to {first} the norm of the gradient falls {fold:,.0f}-fold, {fold ** (1 / depth):.1f}-fold "
        f"per layer ({chain}; from {VANISHED:.0f}-fold it counts as vanishing)."
    ]
    steepest = STEEPEST.get(name, 1.0)
    if steepest < 1:
        words.append(
            f"On its way it is multiplied by the slopes of {depth} {name}s, at most {steepest:g} each: 1/"
            f"{steepest**-depth:.0f} or less together; small initial weights account for the rest."
        )
    flat = run.levels("saturation")
    most = max(flat, key=lambda layer: flat[layer]) if flat else ""
    if most and flat[most] >= SATURATED:
        words.append(f"{percent(flat[most])} of {most}'s units are saturated: their slope is almost 0.")
    elif most and steepest < 1:
        few = "hardly a unit" if flat[most] < FEW else f"at most {percent(flat[most])} of a layer's units"
        words.append(f"Saturation is not the reason ({few}): the slope itself is.")
    if first in run.updates:
        words.append(f"A step changes {first} by {of_weights(run.updates[first])} of its weights; 0.1 % is usual.")
    trial = run.try_activation() or run.try_rate(10)
    remedy = trial.label.removeprefix("Try ") if trial else "a steeper activation"
    return Finding(
        "vanishing_gradients",
        "alarm" if run.at_chance else "note",
        f"The gradient vanishes before {first}",
        " ".join(words),
        f"A run with {remedy} that stalls all the same, or {first}'s gradient growing while the curves do not move.",
        None,
        {"fold": fold, **{f"grad_norm/{layer}": norm for layer, norm in norms.items()}},
        trial,
    )


def _dead_relus(run: RunLines) -> Finding | None:
    silent = run.levels("saturation")
    if run.config.activation != "relu" or not silent:
        return None
    layer = max(silent, key=lambda name: silent[name])
    share, norm = silent[layer], run.levels("grad_norm").get(run.layers[0])
    if share < SILENT:
        return None
    smooth = trends.smooth(run.line(f"saturation/{layer}"))
    epoch = holds_since(smooth >= SILENT) if smooth.iloc[-1] >= SILENT else int(smooth.index[-1])
    cut = f" No gradient reaches {run.layers[0]} any more." if norm == 0 else ""
    return Finding(
        "dead_relus",
        "alarm" if share >= DEAD or norm == 0 else "note",
        f"Dead ReLUs in {layer} since epoch {epoch}",
        f"{percent(share)} of {layer}'s outputs are 0 (about half is usual; from {percent(SILENT)} it counts): a "
        f"ReLU that is 0 for every picture has no gradient and cannot recover.{cut} Large steps are the usual cause.",
        f"Feature maps in which every unit of {layer} responds to some picture: then it is sparse, not dead.",
        epoch,
        {"silent": share},
        run.try_rate(0.1),
    )


def _saturated_units(run: RunLines) -> Finding | None:
    if run.config.activation not in ("sigmoid", "tanh"):
        return None
    flat = {layer: share for layer, share in run.levels("saturation").items() if share >= SATURATED}
    if not flat:
        return None
    epoch = min(first_epoch(run.line(f"saturation/{layer}") >= SATURATED) for layer in flat)
    shares = ", ".join(f"{layer} {percent(share)}" for layer, share in flat.items())
    ends = "±1" if run.config.activation == "tanh" else "0 or 1"
    return Finding(
        "saturated_units",
        "note",
        f"Saturated units since epoch {epoch}",
        f"Most units are saturated, where {run.config.activation}'s slope is under 5 % of its maximum: {shares} (from "
        f"{percent(SATURATED)} it counts). Their output is close to {ends} for any picture, and they hardly learn.",
        "A run with smaller steps whose units saturate as much and which learns as little.",
        epoch,
        {f"saturation/{layer}": share for layer, share in flat.items()},
        run.try_rate(0.1),
    )


def _overfitting(run: RunLines) -> Finding | None:
    tested, trained = run.line("test_loss"), run.line("train_loss")
    if min(len(tested), len(trained)) < OVERFITTING_FROM or run.at_chance:
        return None
    smooth = trends.smooth(tested)
    onset, lowest = int(smooth.idxmin()), float(smooth.min())
    until = trends.smooth(trained).loc[:onset]
    if lowest <= 0 or until.empty or len(tested.loc[onset:]) <= ENOUGH:
        return None
    now, then, since = trends.level(tested), float(until.iloc[-1]), trends.level(trained)
    change, error = trends.slope(tested.loc[onset:], trends.noise(tested))
    rise, fall = now / lowest - 1, 1 - since / then
    if rise < RISE or change < RISING * error or fall < FALL:
        return None
    certainty = change / error if error else math.inf
    words = [
        f"Since epoch {onset} the test loss rises, {figure(lowest)} → {figure(now)} (+{100 * rise:.1f} %, its slope "
        f"{certainty:.1f} times its standard error; from {percent(RISE)} and {RISING:g} times it counts), while the "
        f"train loss falls, {figure(then)} → {figure(since)} (−{100 * fall:.0f} %)."
    ]
    evidence = {"lowest": lowest, "test_loss": now, "rise": rise, "train_loss_fall": fall, "certainty": certainty}
    correct, exact = run.line("test_accuracy"), run.line("train_accuracy_exact")
    if onset in correct.index:
        before, after = float(trends.smooth(correct)[onset]), trends.level(correct)
        evidence |= {"test_accuracy_then": before, "test_accuracy": after}
        words.append(_confidence(before, after, rise, run.config.loss))
    if len(exact) and len(correct) and exact.index[-1] == correct.index[-1]:
        words.append(
            f"With the weights of epoch {exact.index[-1]}, {accuracy(exact.iloc[-1])} of the training pictures are "
            f"right and {accuracy(correct.iloc[-1])} of the test pictures."
        )
    return Finding(
        "overfitting",
        "alarm",
        f"Overfitting since epoch {onset}",
        " ".join(words),
        f"More epochs in which the test loss falls below {figure(lowest)} again, or a run with weight decay in which "
        "it rises as early and as far.",
        onset,
        evidence,
        _regularised(run.config),
    )


def _confidence(before: float, after: float, rise: float, loss: str) -> str:
    """How the accuracy changed meanwhile, and why it changed less than the loss."""
    moved = f"Test accuracy went from {accuracy(before)} to {accuracy(after)}"
    if (before - after) / max(1 - before, 1e-9) >= rise:
        return f"{moved}: it gets more pictures wrong, too."
    noise = SIGMAS * math.sqrt(2 * before * (1 - before) / TEST_PICTURES)  # of a difference of two accuracies
    held = "did not fall" if after >= before - noise else "fell less than the loss rose"
    price = (
        "cross-entropy penalises a wrong prediction without limit, the more the surer it is"
        if loss == "cross_entropy"
        else "squared error penalises the distance from the target, not being wrong"
    )
    return f"{moved}, so it {held}: mistakes are hardly more frequent but more confident ({price})."


def _regularised(config: RunConfig) -> Trial:
    """All of the training pictures if some were left out, else a weight decay that makes a difference.

    Decay alone shrinks a weight e-fold in 1 / (lr · decay) steps: the decay is the one that makes this the whole run.
    """
    if config.limit_train:
        return Trial("Try all training pictures", {"limit_train": 0})
    felt = 1 / (config.lr * config.steps_per_epoch * config.epochs)
    decay = float(f"{min(max(felt, 10 * config.weight_decay, 1e-6), 0.1):.1g}")
    return Trial(f"Try weight decay {decay:g}", {"weight_decay": decay})


# In the order of the report, in which alarms come before notes.
_FINDERS: tuple[Callable[[RunLines], Finding | None], ...] = (
    _lr_too_high,
    _chance_level,
    _vanishing_gradients,
    _dead_relus,
    _overfitting,
    _saturated_units,
    milestones.slow_start,
    milestones.still_improving,
    milestones.converged,
)
