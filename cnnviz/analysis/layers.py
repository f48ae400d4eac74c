"""Findings on what goes on inside: gradients that vanish, ReLUs that are dead, units that are saturated."""

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    DEAD,
    SATURATED,
    SILENT,
    VANISHED,
    Finding,
    RunLines,
    a_run,
    figure,
    first_epoch,
    holds_since,
    of_weights,
    percent,
)
from cnnviz.architectures import SATURATING, flat_word

STEEPEST = {"sigmoid": 0.25}  # slope of an activation; the others' is about 1
FEW = 0.02  # of a layer's units
UNUSUAL = ("small", "large", "zero")  # initial weights that nobody would choose but to see what they do


def vanishing_gradients(run: RunLines) -> Finding | None:
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
        words.append(f"{percent(flat[most])} of {most}'s units are {flat_word(name)}: their slope is almost 0.")
    elif most and steepest < 1:
        few = "hardly a unit" if flat[most] < FEW else f"at most {percent(flat[most])} of a layer's units"
        words.append(f"Saturation is not the reason ({few}): the slope itself is.")
    if first in run.steps:
        words.append(f"A step changes {first} by {of_weights(run.steps[first])} of its weights; 0.1 % is usual.")
    begun = run.try_init() if name not in SATURATING or run.config.init in UNUSUAL else None
    faster = run.try_rate(10) if run.at_chance and not run.is_early else None
    trial, more = run.remedies(begun, run.try_activation(), run.try_batch_norm(), faster)
    return Finding(
        "vanishing_gradients",
        "alarm" if run.at_chance else "note",
        f"The gradient vanishes before {first}",
        " ".join(words),
        f"{a_run(trial, 'a steeper activation')} that stalls all the same, or {first}'s gradient growing while the "
        "curves do not move.",
        None,
        {"fold": fold, **{f"grad_norm/{layer}": norm for layer, norm in norms.items()}},
        trial,
        more,
    )


def dead_relus(run: RunLines) -> Finding | None:
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
    first = (run.try_rate(0.1), run.try_init())
    slower, more = run.remedies(*(first[::-1] if run.config.init in UNUSUAL else first), run.try_batch_norm())
    return Finding(
        "dead_relus",
        "alarm" if share >= DEAD or norm == 0 else "note",
        f"Dead ReLUs in {layer} since epoch {epoch}",
        f"{percent(share)} of {layer}'s outputs are 0 (about half is usual; from {percent(SILENT)} it counts): a "
        f"ReLU that is 0 for every picture has no gradient and cannot recover.{cut} Large steps are the usual cause.",
        f"{a_run(slower, 'a lower rate')} with as many zeros: then that is not the cause. Or feature maps in "
        f"which every unit of {layer} responds to some picture: then it is sparse, not dead.",
        epoch,
        {"silent": share},
        slower,
        more,
    )


def saturated_units(run: RunLines) -> Finding | None:
    if run.config.activation not in SATURATING:
        return None
    flat = {layer: share for layer, share in run.levels("saturation").items() if share >= SATURATED}
    if not flat:
        return None
    epoch = min(first_epoch(run.line(f"saturation/{layer}") >= SATURATED) for layer in flat)
    shares = ", ".join(f"{layer} {percent(share)}" for layer, share in flat.items())
    ends = "±1" if run.config.activation == "tanh" else "0 or 1"
    at_start = [run.recorded(f"saturation/{layer}").get(0, 0.0) for layer in flat] if not run.start else []
    begun, slower = run.try_init(), run.try_rate(0.1)
    first = (begun, slower) if max(at_start, default=0.0) >= SATURATED else (slower, begun)
    trial, more = run.remedies(*first, run.try_batch_norm())
    return Finding(
        "saturated_units",
        "note",
        f"Saturated units since epoch {epoch}",
        f"Units are saturated, where {run.config.activation}'s slope is under 5 % of its maximum: {shares} (from "
        f"{percent(SATURATED)} it counts). Their output is close to {ends}; little gradient passes them, so that their "
        "weights, and those before them, learn slowly. The other units go on learning.",
        f"{a_run(trial, 'a lower rate')} whose units saturate as much and which learns as little: then that is not the "
        "cause.",
        epoch,
        {f"saturation/{layer}": share for layer, share in flat.items()},
        trial,
        more,
    )
