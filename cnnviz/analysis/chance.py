"""Findings on whether a network does better than guessing: not yet, no longer, late, or worse than that."""

from scipy.stats import norm

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    ABOVE_CHANCE,
    BELOW_CHANCE,
    CHANCE,
    CHANCE_NOISE,
    EARLY,
    ENOUGH,
    LARGE_UPDATE,
    SIGMAS,
    STALLED,
    TEST_PICTURES,
    VANISHED,
    Finding,
    RunLines,
    Trial,
    a_run,
    accuracy,
    finite,
    first_epoch,
    holds_since,
    more_epochs,
    of_weights,
    percent,
)
from cnnviz.analysis.layers import UNUSUAL
from cnnviz.analysis.steps import bounces

SLOW_START = 2  # epochs at chance level before it learned: any small learning rate takes one
BY_HEART = 0.5  # of the training pictures right: five times what guessing gets
MOVING = 2.0  # times its smallest: a first layer's gradient that has grown this much is leaving the plateau
_GUESSING = f"guessing gives {percent(CHANCE)} ± {100 * SIGMAS * CHANCE_NOISE:.1f} points on {TEST_PICTURES:,} pictures"


def below_chance(run: RunLines) -> Finding | None:
    """Worse than guessing: something was learned that does not fit the test pictures' labels.

    Initial weights alone lie below (7.6 % is the least of 25 LeNets with tanh), so that early it is a note.
    """
    if not run.below_chance:
        return None
    line, correct = run.line("test_accuracy"), run.line("train_accuracy")
    words = [f"Test accuracy is {accuracy(trends.level(line))} {_span(run)}, less than chance: {_GUESSING}."]
    epoch = holds_since(trends.smooth(line, trends.WINDOW) < BELOW_CHANCE)
    if run.is_early:
        words.append(f"It is early, {run.updates:,} updates so far: initial weights alone can lie this low.")
    else:
        words.append(
            "That is no lack of learning, which would end at chance: labels that are shifted or of another data set, "
            "or an error in how the pictures are read, do this."
        )
        if len(correct):
            words.append(f"Of the training pictures {accuracy(trends.level(correct))} were right.")
    trial = run.try_more() if run.is_early else run.try_seed()
    refutes = (
        f"{trial.what} that lift it to chance level or above."
        if trial and run.is_early
        else f"A run with {run.try_seed().what} that is at chance level or above: then it was these initial weights."
    )
    return Finding(
        "below_chance",
        "note" if run.is_early else "alarm",
        "Below chance level",
        " ".join(words),
        refutes,
        epoch,
        {"test_accuracy": trends.level(line), "noise": CHANCE_NOISE},
        trial,
    )


def chance_level(run: RunLines) -> Finding | None:
    if not run.at_chance:
        return None
    line, guessing = run.line("test_accuracy"), run.guessing
    has_learned = not guessing.all() or _began_above(run)
    best, at = line.max(), int(line.idxmax())
    peeked = not has_learned and best > CHANCE + CHANCE_NOISE * norm.isf(norm.sf(SIGMAS) / len(line))
    since = holds_since(guessing) if guessing.iloc[-1] else run.end
    words = [f"Test accuracy is {accuracy(trends.level(line))} {_span(run)}; {_GUESSING}."]
    if best > ABOVE_CHANCE and (peeked or not guessing.all()):
        words.append(f"It was {accuracy(best)} at epoch {at} and fell back.")
    elif best > ABOVE_CHANCE:
        words.append(f"Its best of {len(line)} epochs, {accuracy(best)}, may be noise as well.")
    by_heart = _by_heart(run)
    words += [*by_heart, *_loss_of_guessing(run)]
    is_early = run.is_early and not by_heart
    first, last = run.layers[0], run.layers[-1]
    if run.fold >= VANISHED:
        words.append(f"The gradient that reaches {first} is {run.fold:,.0f} times smaller than {last}'s.")
    growth = _growth(run)
    (trial, *more), remark, refutes = _regularised(run) if by_heart else _way_out(run, has_learned, growth)
    if run.bouncing:
        words.append(f"{bounces(run)}.")
    if remark:
        words.append(remark)
    if by_heart:
        title, since = "Learned by heart", int(line.index[0])
    elif has_learned:
        title = f"Fell back to chance level at epoch {since}"
    elif peeked:
        since = int(line.index[line.index > at][0])
        title = f"Left chance level at epoch {at} and fell back"
    else:
        title = "Still at chance level" if is_early else "Never left chance level"
    return Finding(
        "chance_level",
        "note" if is_early else "alarm",
        title,
        " ".join(words),
        refutes,
        since,
        {"test_accuracy": trends.level(line), "noise": CHANCE_NOISE, "fold": run.fold, "growth": growth},
        trial,
        tuple(each for each in more if each is not None),
    )


def _by_heart(run: RunLines) -> list[str]:
    """What it has learned of the training pictures alone, if that is much."""
    line = run.line("train_accuracy")
    if line.empty or trends.level(line) < BY_HEART:
        return []
    return [
        f"But {accuracy(trends.level(line))} of the training pictures are right: it knows them by heart, and nothing "
        "of that helps with others, as when labels have nothing to do with their pictures (Zhang et al. 2017)."
    ]


def _span(run: RunLines) -> str:
    if len(run.line("test_accuracy")) < ENOUGH:
        return f"at epoch {run.end}"
    return f"over the last {ENOUGH} of {run.epochs} epochs"


def _began_above(run: RunLines) -> bool:
    """Whether a fork's parent had learned: of other runs' initial weights that says nothing."""
    at_start = run.recorded("test_accuracy").loc[: run.start]
    return run.start > 0 and len(at_start) > 0 and at_start.iloc[-1] > ABOVE_CHANCE


def _way_out(run: RunLines, has_learned: bool, growth: float) -> tuple[list[Trial | None], str, str]:
    """What to try, the first to test it by; what speaks for that; and what would refute it."""
    layer, update = run.largest_update
    more = run.try_more()
    if run.is_early:
        return [more], f"It is early: {run.updates:,} updates so far.", _only_slow(more)
    if has_learned or run.has_long_steps:
        slower, others = run.remedies(run.try_rate(0.1), run.try_batch_norm())
        remark = f"A step changes {layer} by {of_weights(update)} of its weights." if update >= LARGE_UPDATE else ""
        refutes = f"{a_run(slower, 'a lower rate')} that is at chance level as well: then the "
        return [slower, *others], remark, f"{refutes}size of the steps is not the cause."
    if growth >= MOVING:
        first = run.layers[0]
        remark = f"But it has begun to move: {first}'s gradient is {growth:.1f} times its minimum."
        return [more], remark, _only_slow(more)
    faster, begun = run.try_rate(10), run.try_init() if run.config.init in UNUSUAL else None
    trial, others = run.remedies(begun, faster, run.try_batch_norm())
    if trial is not None and trial is begun:
        refutes = f"{a_run(trial, '')} that is at chance level as well: then it is not how the weights start."
    else:
        refutes = f"{a_run(trial, 'a higher rate')} that is at chance level as well: then "
        refutes += "longer steps are not what it lacks." if trial is faster else "its activations' scale is not it."
    return [trial, *others], "", refutes


def _regularised(run: RunLines) -> tuple[list[Trial | None], str, str]:
    """As _way_out, of one that has learned by heart."""
    trial, others = run.remedies(run.try_dropout(), run.try_augmentation())
    refutes = f"{a_run(trial, 'dropout')} that is at chance level as well: then regularisation is not what it lacks."
    return [trial, *others], "", refutes


def _only_slow(more: Trial | None) -> str:
    return f"{more_epochs(more)} that lift the accuracy above chance level: then it was only slow."


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


def slow_start(run: RunLines) -> Finding | None:
    guessing = run.guessing
    if run.at_chance or guessing.all():
        return None
    began = first_epoch(~guessing)
    waited = int((guessing.index < began).sum())
    if waited < SLOW_START or waited * run.config.steps_per_epoch < EARLY:
        return None
    before = run.line("test_accuracy").loc[: began - 1]
    steadily = before.between(BELOW_CHANCE, ABOVE_CHANCE).all()
    words = [
        f"Test accuracy {'stayed' if steadily else 'was in most epochs'} within {SIGMAS:.0f} times the noise of "
        f"guessing ({percent(CHANCE)}) {'' if steadily else 'or below '}up to epoch {began - 1}; then it learned."
    ]
    evidence = {"epoch": float(began)}
    first, last = (run.recorded(f"grad_norm/{layer}") for layer in (run.layers[0], run.layers[-1]))
    folds = finite((last / first[first > 0]).dropna()).loc[: began - 1]
    if len(folds) and folds.iloc[0] >= VANISHED:
        evidence["fold"] = float(folds.iloc[0])
        words.append(
            f"Until then little gradient reached {run.layers[0]}: 1/{folds.iloc[0]:,.0f} of {run.layers[-1]}'s at "
            f"epoch {folds.index[0]}, 1/{folds.iloc[-1]:,.0f} at epoch {folds.index[-1]}."
        )
        grown = run.line(f"grad_norm/{run.layers[0]}").iloc[-1] / first.loc[folds.index].min()
        words.append(f"By epoch {first.index[-1]} it had grown {grown:,.0f}-fold.")
    other = run.try_activation()
    return Finding(
        "slow_start",
        "note",
        f"At chance level until epoch {began - 1}",
        " ".join(words),
        f"A run with {other.what} that starts as late: then {run.config.activation}'s slope is not the cause."
        if other
        else f"A run with {run.try_seed().what} that learns at once: then it was these initial weights, not the "
        "settings.",
        began,
        evidence,
        other or run.try_seed(),
    )
