"""The part of a program that trains and tests: the learning rate of a step, the loss, an epoch."""

from textwrap import indent

from cnnviz.config import RunConfig
from cnnviz.render.code.cell import Cell
from cnnviz.train.schedules import END, RISING, START, STEP_AT, STEP_FACTOR


def schedule(config: RunConfig) -> Cell:
    total, warm = (epochs * config.steps_per_epoch for epochs in (config.schedule_epochs, config.warmup))
    lines = [f"    step = min(step, {total - 1})  # more epochs go on at the last rate"]
    if warm:
        lines = [f"    if step < {warm}:", f"        return LEARNING_RATE * (step + 1) / {warm}", *lines]
    if config.schedule == "step":
        first, second = (int(share * total) for share in STEP_AT)
        lines.append(f"    return LEARNING_RATE * {STEP_FACTOR} ** ((step >= {first}) + (step >= {second}))")
    elif config.schedule == "cosine":
        lines.append(f"    return LEARNING_RATE * (1 + math.cos(math.pi * (step - {warm}) / {total - warm})) / 2")
    elif config.schedule == "one-cycle":
        turn = RISING * total - 1
        lines += [
            f"    low, end = LEARNING_RATE / {START:g}, LEARNING_RATE / {START * END:g}",
            f"    if step <= {turn!r}:",
            f"        return LEARNING_RATE + (low - LEARNING_RATE) * (1 + math.cos(math.pi * step / {turn!r})) / 2",
            f"    share = (step - {turn!r}) / {total - 1 - turn!r}",
            "    return end + (LEARNING_RATE - end) * (1 + math.cos(math.pi * share)) / 2",
        ]
    else:
        lines.append("    return LEARNING_RATE")
    uses = {"import math"} if config.schedule in ("cosine", "one-cycle") else set()
    title = {"constant": "Constant, after a warm-up"}.get(config.schedule, config.schedule.capitalize())
    return Cell(
        "Learning rate",
        f"{title}, by the number of the step, from 0 on.",
        "\n".join(["def learning_rate(step):", *lines]),
        frozenset(uses),
    )


_LOSSES = {
    "cross_entropy": "return F.cross_entropy(logits, labels)",
    "mse": "return F.mse_loss(logits, F.one_hot(labels, 10).float())  # over pictures and classes",
}


_SMOOTHED = {
    "cross_entropy": "return F.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)",
    "mse": "target = F.one_hot(labels, 10) * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / 10\n"
    "    return F.mse_loss(logits, target)",
}


_SOFTMAX = "logits = F.softmax(logits, dim=1)  # the mistake: cross_entropy has a softmax in it\n    "
_SHUFFLE = '''
def shuffled(labels):
    """The mistake: each label at another picture, so that there is nothing to learn but by heart."""
    draws = np.random.PCG64([SEED, 0, 3]).random_raw(len(labels))
    return labels[torch.from_numpy(np.argsort(draws, kind="stable")).to(DEVICE)]
'''
_BATCHES = '''
def batches(epoch):
    """Which pictures each step of an epoch sees: an order that follows from (SEED, epoch) alone."""
    draws = np.random.PCG64([SEED, epoch]).random_raw(TRAIN_IMAGES)
    order = torch.from_numpy(np.argsort(draws, kind="stable"))
    return order.to(DEVICE).split(BATCH_SIZE)
'''
_SORTED = '''
def batches(labels):
    """Which pictures each step of an epoch sees. The mistake: sorted by class, and never shuffled."""
    return torch.argsort(labels, stable=True).split(BATCH_SIZE)
'''


def training(config: RunConfig) -> Cell:
    twice = _SOFTMAX if config.mistake == "softmax-twice" else ""
    losses = [f"def loss_of(logits, labels):\n    {twice}{_LOSSES[config.loss]}"]
    if config.label_smoothing:
        losses.append(f"def smoothed_loss(logits, labels):\n    {twice}{_SMOOTHED[config.loss]}")
    if config.mistake == "random-labels":
        losses.append(_SHUFFLE.strip())
    is_sorted = config.mistake == "no-shuffle"
    which = "batches(labels)" if is_sorted else "batches(epoch)"
    before, steps = [], [f"for rows in {which}:"]
    if config.dropout:
        before.append("MASKS.manual_seed(int(np.random.PCG64([SEED, epoch, 2]).random_raw(1)[0]) >> 1)")
    picture = "normalise(images[rows])"
    if config.augment != "none":
        before.append("changes = draw_changes(epoch).split(BATCH_SIZE)")
        picture = "augmented(images[rows], changes[step])"
    if config.augment != "none" or not config.has_constant_rate:
        steps = [f"for step, rows in enumerate({which}):"]
    if not config.has_constant_rate:
        steps.append(
            f'    optimizer.param_groups[0]["lr"] = learning_rate((epoch - 1) * {config.steps_per_epoch} + step)'
        )
    steps += [f"    logits = model({picture})", "    loss = loss_of(logits, labels[rows])"]
    if config.mistake == "no-zero-grad":
        steps.append("    # The mistake: optimizer.zero_grad() is missing here, and gradients add up over all steps.")
    else:
        steps.append("    optimizer.zero_grad()")
    steps.append(
        "    smoothed_loss(logits, labels[rows]).backward()" if config.label_smoothing else "    loss.backward()"
    )
    steps += [
        "    optimizer.step()",
        "    loss_sum += loss.item() * len(rows)",
        "    right += (logits.argmax(1) == labels[rows]).sum().item()",
    ]
    code = f'''
{(chr(10) * 3).join(losses)}


{(_SORTED if is_sorted else _BATCHES).strip()}


def train(model, optimizer, images, labels, epoch):
    """One epoch; its mean loss and accuracy, as the network learns."""
    model.train()
    loss_sum = right = 0.0
{indent(chr(10).join([*before, *steps]), "    ")}
    return loss_sum / len(images), right / len(images)
'''
    return Cell(
        "Training",
        "The loss is a mean over the batch; the last batch of an epoch may be smaller.",
        code.strip(),
        frozenset({"import numpy as np", "import torch", "import torch.nn.functional as F"}),
    )


def evaluation(config: RunConfig) -> Cell:
    mode, at_once = "model.eval()", 500
    if config.mistake == "no-eval":
        mode, at_once = "model.train()  # the mistake: it should be model.eval()", 250
        if config.dropout:
            mode += "\n    MASKS.manual_seed(SEED)"
    code = f'''
@torch.no_grad()
def test(model, images, labels):
    """Mean loss and accuracy."""
    {mode}
    loss_sum = right = 0.0
    for pictures, answers in zip(images.split({at_once}), labels.split({at_once})):
        logits = model(normalise(pictures))
        loss_sum += loss_of(logits, answers).item() * len(answers)
        right += (logits.argmax(1) == answers).sum().item()
    return loss_sum / len(images), right / len(images)
'''
    return Cell("Evaluation", "On the whole test set, after every epoch.", code.strip(), frozenset({"import torch"}))
