"""Findings on how a network starts: weights that are too small or too large, pictures that are not normalised.

They look at the untrained network: its loss, the gradient of each layer over the first batches, its saturated units.
"""

import math

from cnnviz.analysis.evidence import SATURATED, Finding, RunLines, Trial, a_run, figure, percent
from cnnviz.architectures import SATURATING, flat_word

# Of untrained LeNets of all usual initial weights and activations; times the loss of guessing, by loss.
SURPRISED = {"cross_entropy": 1.5, "mse": 20.0}  # it is sure of wrong answers: usual weights start below 1.2 and 8
INDIFFERENT = {"cross_entropy": 1.02, "mse": 1.25}  # outputs hardly differ; all of them 0 are 1.0 and 1.1
FAINT = (
    1e-3  # norm of the first layer's gradient: PyTorch's usual weights give 0.002 to 1, a tenth of He's 0.0004 or less
)
FAINT_SIGMOID = 15.0  # times a layer: through sigmoids, whose slope is 0.25 at most, usual weights lose 4 to 8
MSE_GRADIENT = 0.2  # as a mean over ten classes, times cross-entropy's: usual 0.0025 to 3, too small 0.00007 or less


def weights(run: RunLines) -> Finding | None:
    """What a fork starts from was trained: of that nothing is said."""
    norms = [run.recorded(f"grad_norm/{layer}").get(0, math.nan) for layer in run.layers]
    loss = float(run.recorded("test_loss").get(0, math.nan))
    if run.start or len(norms) < 2:
        return None
    if run.config.batch_norm == "on" and norms[0] > 0:  # which makes their size irrelevant
        return None
    return _large(run, loss) or _small(run, norms, loss)


def _large(run: RunLines, loss: float) -> Finding | None:
    activation = run.config.activation
    flat = {layer: float(run.recorded(f"saturation/{layer}").get(0, 0.0)) for layer in run.layers[:-1]}
    most = max(flat, key=lambda layer: flat[layer])
    saturates = activation in SATURATING and SATURATED <= flat[most] <= 1
    surprised = math.isfinite(loss) and loss > SURPRISED[run.config.loss] * run.guessing_loss
    if not saturates and not surprised:
        return None
    words = []
    if surprised:
        words.append(
            f"Before training the test loss is {figure(loss)}, {figure(loss / run.guessing_loss)} times that of giving "
            f"every class the same share ({figure(run.guessing_loss)}): untrained, it is sure of wrong answers."
        )
    if saturates:
        words.append(f"Before training {percent(flat[most])} of {most}'s units are {flat_word(activation)}.")
    words.append("Each layer makes values larger; training first has to undo that.")
    trial, more = _remedies(run)
    return Finding(
        "large_start",
        "note",
        "Weights start too large",
        " ".join(words),
        f"{a_run(trial, 'usual initial weights')} that starts at the same loss.",
        0,
        {"test_loss": loss} if math.isfinite(loss) else {"saturation": flat[most]},
        trial,
        more,
    )


def _small(run: RunLines, norms: list[float], loss: float) -> Finding | None:
    first, last = norms[0], norms[-1]
    if not math.isfinite(first) or not math.isfinite(last):
        return None
    if not 0.9 < loss / run.guessing_loss < INDIFFERENT[run.config.loss]:
        return None
    if run.config.activation == "sigmoid":
        limit = last / FAINT_SIGMOID ** (len(norms) - 1)
    else:
        limit = FAINT * (MSE_GRADIENT if run.config.loss == "mse" else 1.0)
    if first > 0 and first >= limit:
        return None
    trial, more = _remedies(run)
    words = (
        f"Before training the norm of {run.layers[0]}'s gradient is {figure(first)} (under {figure(limit)} it counts), "
    )
    words += f"that of {run.layers[-1]}'s {figure(last)}, and the test loss, {figure(loss)}, that of guessing. "
    words += "Each layer makes values smaller, forwards and backwards, so that the first ones hardly learn."
    words += "" if first else " Weights that are all zero get no gradient, or stay alike."
    return Finding(
        "small_start",
        "note",
        "Weights start too small",
        words,
        f"{a_run(trial, 'usual initial weights')} that learns as slowly.",
        0,
        {"first": float(first), "last": float(last)},
        trial,
        more,
    )


def _remedies(run: RunLines) -> tuple[Trial | None, tuple[Trial, ...]]:
    return run.remedies(run.try_init(), run.try_batch_norm())


def inputs(run: RunLines) -> Finding | None:
    """Pictures as bytes, as its settings say; and what that does to the first layer."""
    if run.config.normalise != "raw":
        return None
    norms = [float(run.recorded(f"grad_norm/{layer}").get(0, math.nan)) for layer in run.layers]
    words = [
        "Its settings say so (normalise raw): pixels are 0 to 255, about a hundred times what layers are made for."
    ]
    evidence = {"pixel": 255.0}
    first = run.layers[0]
    flat = float(run.recorded(f"saturation/{first}").get(0, 0.0))
    if run.config.activation in SATURATING and flat >= SATURATED:
        words.append(f"Before training {percent(flat)} of {first}'s units are saturated already.")
        evidence["saturation"] = flat
    elif math.isfinite(norms[0]):
        words.append(
            f"Before training the norm of {first}'s gradient is {figure(norms[0])}; up to about 2 is usual, and a rate "
            "that suits those takes steps here that are too long."
        )
        evidence["grad_norm"] = norms[0]
    trial = run.try_anew("normalised pictures", normalise="unit")
    return Finding(
        "raw_inputs",
        "alarm",
        "Inputs are not normalised",
        " ".join(words),
        f"A run with {trial.what} that learns no better.",
        0 if not run.start else None,
        evidence,
        trial,
        run.remedies(run.try_batch_norm())[1],
    )
