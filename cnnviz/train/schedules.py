"""The learning rate of a step, by the schedule of its run. Nothing is remembered: it follows from the step alone."""

import math

from cnnviz.config import RunConfig

STEP_FACTOR, STEP_AT = 0.1, (0.5, 0.75)  # He et al. 2016 divide by 10 at a half and three quarters
RISING, START, END = 0.3, 25.0, 1e4  # of one-cycle (Smith, Topin 2019): torch.optim.lr_scheduler.OneCycleLR's defaults


def rate(config: RunConfig, step: int) -> float:
    """The learning rate of the step with that number, from 0 on; after the schedule's end, its last one."""
    if config.has_constant_rate:
        return config.lr
    total, warm = (epochs * config.steps_per_epoch for epochs in (config.schedule_epochs, config.warmup))
    if step < warm:
        return config.lr * (step + 1) / warm
    step = min(step, total - 1)
    if config.schedule == "step":
        return config.lr * STEP_FACTOR ** sum(step >= int(share * total) for share in STEP_AT)
    if config.schedule == "cosine":
        return _between(config.lr, 0.0, (step - warm) / (total - warm))
    if config.schedule == "one-cycle":
        turn = RISING * total - 1
        if step <= turn:
            return _between(config.lr / START, config.lr, step / turn)
        return _between(config.lr, config.lr / START / END, (step - turn) / (total - 1 - turn))
    return config.lr


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
