"""Findings on training mode and evaluation mode: which of them figures were recorded in, and what it does to them."""

import math

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import ENOUGH, SIGMAS, TEST_PICTURES, Finding, RunLines, accuracy, first_epoch
from cnnviz.wording import listed


def harder_training(run: RunLines) -> Finding | None:
    """Train figures worse than test figures, where dropout or augmentation makes the training harder than the test.

    A train figure is a mean over its epoch, and so lags behind: it is compared with the test figure of the epoch
    before, at which it began, and what is found even then is no lag.
    """
    trained, tested = run.line("train_accuracy"), run.line("test_accuracy")
    before = tested.shift().iloc[1:]
    behind = (before - trained.reindex(before.index)).dropna()
    if not run.is_hampered or run.config.mistake == "no-eval" or run.at_chance or len(behind) < ENOUGH:
        return None
    share = trends.level(tested)
    noise = SIGMAS * math.sqrt(share * (1 - share) * (1 / TEST_PICTURES + 1 / run.config.train_size))
    if trends.level(behind) <= noise or behind.iloc[-1] <= noise:
        return None
    config, exact = run.config, run.line("train_accuracy_exact")
    causes = ["dropout"] * (config.dropout > 0) + ["augmentation"] * (config.augment != "none")
    named = listed(causes, " and ")
    words = [
        f"Over the last {ENOUGH} epochs {accuracy(trends.level(trained))} of the training pictures were right while it "
        f"trained, and {accuracy(share)} of the test pictures: more of those that it never saw."
    ]
    if config.dropout:
        words.append(
            f"Train figures are recorded with {config.dropout:g} of the units switched off, test figures with all."
        )
    if config.augment != "none":
        words.append(
            f"Train figures are of changed pictures ({config.augment}), test figures of the pictures as they are."
        )
    if len(exact) and exact.index[-1] == run.end:
        words.append(f"As it is tested, {accuracy(exact.iloc[-1])} of the training pictures are right.")
    words.append("So the gap says nothing about overfitting, nor about the test set.")
    without, others = run.remedies(
        run.try_anew("no dropout", dropout=0.0) if config.dropout else None,
        run.try_anew("no augmentation", augment="none") if config.augment != "none" else None,
    )
    return Finding(
        "harder_training",
        "note",
        f"{named.capitalize()} make{'s' if len(causes) == 1 else ''} train look worse than test",
        " ".join(words),
        f"A run with {without.what if without else 'none'} whose training pictures are less often right than the test "
        "pictures all the same: then the test pictures are easier.",
        first_epoch(behind > noise),
        {"behind": trends.level(behind), "noise": noise, "test_accuracy": share},
        without,
        others,
    )


def training_mode(run: RunLines) -> Finding | None:
    """Recorded in training mode, as the run's settings say. Figures alone cannot prove it, but they show it."""
    if run.config.mistake != "no-eval" or run.line("test_accuracy").empty:
        return None
    config, tested, exact = run.config, run.line("test_accuracy"), run.line("train_accuracy_exact")
    words = [f"Its settings say so (mistake no-eval): test accuracy {accuracy(trends.level(tested))} was recorded"]
    if config.dropout:
        words[0] += f" with {config.dropout:g} of the units switched off"
    if config.batch_norm == "on":
        words[0] += f"{' and' if config.dropout else ' with'} batch norm by each test batch, whose pictures it averages"
    words[0] += "."
    if len(exact) and exact.index[-1] == run.end and run.end in run.line("train_accuracy").index and config.dropout:
        while_training = run.line("train_accuracy")[run.end]
        words.append(
            f"Of the training pictures {accuracy(exact.iloc[-1])} are right when tested with the last weights, and "
            f"{accuracy(while_training)} were over the last epoch: a test without dropout would find more."
        )
    words.append("Feature maps and Mistakes look in evaluation mode, and show what it can do.")
    right = run.try_anew("evaluation mode", mistake="none")
    return Finding(
        "training_mode",
        "alarm",
        "Evaluated in training mode",
        " ".join(words),
        f"A run with {right.what} whose test accuracy is no higher: then it makes no difference here.",
        None,
        {"test_accuracy": trends.level(tested)},
        right,
    )
