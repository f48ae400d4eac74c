"""The parts of a program that trains one run anew in plain PyTorch: cells of a notebook, sections of a script."""

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from cnnviz.architectures import LARGE, SMALL
from cnnviz.config import RunConfig
from cnnviz.data import shapes
from cnnviz.render.code.model import DROPOUT, model
from cnnviz.store.runs import Run
from cnnviz.train.schedules import END, RISING, START, STEP_AT, STEP_FACTOR

FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
MOST_EPOCHS = 100  # of which the recorded figures are written down

Recorded = Mapping[int, Sequence[float | None]]  # epoch → FIGURES; None: not recorded


@dataclass(frozen=True)
class Cell:
    title: str
    text: str  # one paragraph
    code: str
    imports: frozenset[str] = field(default_factory=frozenset)
    runs: bool = False  # trains, so that a script does it only if it is run, not if it is imported


def literal(text: str) -> str:
    """A string of Python in ASCII, whatever the text is: nothing of it ends the string, its line or an HTML script, or
    turns the direction of writing."""
    return ascii(text).replace("<", r"\x3c")


def start_file(run: Run) -> str:
    """Name of the file of weights that a fork starts from; "" for a run that starts from initial ones."""
    return f"run_{run.id[:8]}-start.safetensors" if run.parent else ""


def cells(run: Run, recorded: Recorded) -> list[Cell]:
    """In the order in which they are run."""
    data = _drawn(run) if run.config.dataset == "synthetic" else _cifar10()
    changed = [_augmentation(run.config)] if run.config.augment != "none" else []
    rate = [_schedule(run.config)] if has_schedule(run.config) else []
    training = [_training(run.config), _evaluation()]
    return [_settings(run), data, *changed, _model(run), *rate, *training, _figures(recorded), _main(run)]


def import_lines(imports: frozenset[str]) -> str:
    """Python's own first, then the others, as import sorters have them."""
    first = sorted(
        line for line in imports if line.split()[1].split(".")[0] in ("os", "math", "collections", "concurrent")
    )
    others = sorted(imports.difference(first), key=lambda line: (line.startswith("from"), line))
    return "\n".join([*first, *([""] if first else []), *others])


def _settings(run: Run) -> Cell:
    config = run.config
    last = run.epoch if run.epoch > run.first_epoch else config.epochs
    lines = [f"RUN = {literal(run.name)}"]
    lines += ['DATA = "data"  # folder of CIFAR-10, which is downloaded if it is not there'] * (
        config.dataset == "cifar10"
    )
    lines.append(f"TRAIN_IMAGES = {config.train_size:_}  # the first so many")
    lines += [f"BATCH_SIZE = {config.batch_size}", f"LEARNING_RATE = {config.lr!r}"]
    if _has_momentum(config):
        lines.append(f"MOMENTUM = {config.momentum!r}")
    if config.weight_decay:
        how = "the weights shrink by it" if config.optimizer == "adamw" else "L2: added to the gradient"
        lines.append(f"WEIGHT_DECAY = {config.weight_decay!r}  # {how}")
    if config.label_smoothing:
        lines.append(f"LABEL_SMOOTHING = {config.label_smoothing!r}  # in training; the printed losses are without it")
    if config.dropout:
        lines.append(f"DROPOUT = {config.dropout!r}  # share of the units")
    lines.append(f"SEED = {config.seed}  # of the initial weights and, with the epoch, of the order of the pictures")
    if run.parent:
        lines.append(f"START_WEIGHTS = {literal(start_file(run))}  # its parent's after epoch START_EPOCH")
        lines.append(f"START_EPOCH = {run.first_epoch}")
    lines += [f"EPOCHS = {last}", 'DEVICE = "cuda" if torch.cuda.is_available() else "cpu"']
    if config.dropout:
        lines.append("MASKS = torch.Generator(DEVICE)  # of dropout")
    return Cell("Settings", "What the run was trained with.", "\n".join(lines), frozenset({"import torch"}))


_NORMALISE = '''
def normalise(images):
    """uint8 (N, 32, 32, 3) → float32 (N, 3, 32, 32) from -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1
'''


def _cifar10() -> Cell:
    code = '''
def load(split, count):
    """The first pictures of a split, uint8 (count, 32, 32, 3), and their labels."""
    dataset = CIFAR10(DATA, train=split == "train", download=True)
    images, labels = torch.from_numpy(dataset.data[:count]), torch.tensor(dataset.targets[:count])
    return images.to(DEVICE), labels.to(DEVICE)

'''
    return Cell(
        "Data",
        "CIFAR-10: 50,000 pictures to train on and 10,000 to test on, of ten classes. They stay bytes until a batch of "
        "them is used.",
        (code + _NORMALISE).strip(),
        frozenset({"import torch", "from torchvision.datasets import CIFAR10"}),
    )


def _drawn(run: Run) -> Cell:
    code = '''
def load(split, count):
    """The first pictures of a split, uint8 (count, 32, 32, 3), and their labels."""
    images, labels = draw(split, count)
    return torch.from_numpy(images).to(DEVICE), torch.from_numpy(labels).to(DEVICE)

'''
    imports, drawing = _drawing()
    return Cell(
        "Data",
        "Synthetic shapes, not CIFAR-10: ten kinds of shapes, drawn here, byte for byte the run's pictures. 15 % of "
        "the training labels are wrong on purpose. The first functions draw; load() is what the rest uses.",
        f"{drawing}\n\n{code.rstrip()}\n\n{_NORMALISE}".strip(),
        imports | {"import torch"},
    )


def _drawing() -> tuple[frozenset[str], str]:
    """What cnnviz.data.shapes imports, and the rest of it without its docstring."""
    source = inspect.getsource(shapes)
    _, *body = ast.parse(source).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    last = max(node.end_lineno or 0 for node in imports)
    return frozenset(map(ast.unparse, imports)), "\n".join(source.splitlines()[last:]).strip()


_CHANGES = '''
def draw_changes(epoch):
    """For each place of an epoch: mirrored or not, the shift down and right, the covered square's row and column."""
    draws = np.random.PCG64([SEED, epoch, 1]).random_raw(5 * TRAIN_IMAGES).reshape(-1, 5) >> np.uint64(32)
    drawn = draws * np.array([2, 9, 9, 32, 32], dtype=np.uint64) >> np.uint64(32)
    return torch.from_numpy(drawn.astype(np.int64)).to(DEVICE)


def augmented(images, drawn):
    """uint8 pictures, changed as drawn → normalised ones."""
'''
_CHANGED = {
    "flip": """
    images = torch.where(drawn[:, 0, None, None, None] == 1, images.flip(2), images)
""",
    "shift": """
    padded = F.pad(images, (0, 0, 4, 4, 4, 4))  # black, 4 pixels on each side
    which = torch.arange(len(images), device=DEVICE)[:, None, None]
    rows, columns = (drawn[:, side, None] + torch.arange(32, device=DEVICE) for side in (1, 2))
    images = padded[which, rows[:, :, None], columns[:, None, :]]
""",
}
_COVERED = """
    values = normalise(images)
    down, right = (torch.arange(32, device=DEVICE) - drawn[:, side, None] for side in (3, 4))
    hole = ((down >= -8) & (down < 8))[:, :, None] & ((right >= -8) & (right < 8))[:, None, :]
    return values.masked_fill(hole[:, None], 0)
"""


def _augmentation(config: RunConfig) -> Cell:
    kinds = config.augment.split("+")
    parts = [_CHANGES, *(_CHANGED[kind] for kind in kinds if kind in _CHANGED)]
    parts.append(_COVERED if "cutout" in kinds else "    return normalise(images)")
    said = {"flip": "mirrored or not", "shift": "moved by up to 4 pixels", "cutout": "a square of 16×16 covered"}
    return Cell(
        "Augmentation",
        f"Each training picture anew in each epoch: {', '.join(said[kind] for kind in kinds)}.",
        "\n".join(part.strip("\n") for part in parts),
        frozenset({"import numpy as np", "import torch", "import torch.nn.functional as F"}),
    )


_INITIAL = {
    "xavier": ("Uniform, after Glorot and Bengio 2010", "nn.init.xavier_uniform_(layer.weight)"),
    "he": ("Normal, after He et al. 2015", 'nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")'),
    "orthogonal": ("Orthogonal, after Saxe et al. 2014", "nn.init.orthogonal_(layer.weight)"),
    "zero": ("All alike", "nn.init.zeros_(layer.weight)"),
}


def _model(run: Run) -> Cell:
    config = run.config
    parts = [DROPOUT, model(config)] if config.dropout else [model(config)]
    begins = "PyTorch's default initial weights."
    if config.init != "default":
        scale = {"small": SMALL, "large": LARGE}.get(config.init, 1.0)
        begins, line = _INITIAL["he" if scale != 1 else config.init]
        lines = ["nn.init.zeros_(layer.bias)", line, *([f"layer.weight.data *= {scale!r}"] if scale != 1 else [])]
        begins += f", times {scale:g}: initial weights." if scale != 1 else ": initial weights."
        head = [
            "def initialise(model):",
            "    for layer in model.modules():",
            "        if isinstance(layer, (nn.Conv2d, nn.Linear)):",
        ]
        parts.append("\n".join([*head, *(f"            {each}" for each in lines)]))
    return Cell(
        "Model",
        f"Layers are numbered in one sequence. {begins}",
        "\n\n\n".join(part.strip() for part in parts),
        frozenset({"import torch", "import torch.nn.functional as F", "from torch import nn"}),
    )


def has_schedule(config: RunConfig) -> bool:
    return config.schedule != "constant" or bool(config.warmup)


def _schedule(config: RunConfig) -> Cell:
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


def _training(config: RunConfig) -> Cell:
    losses = [f"def loss_of(logits, labels):\n    {_LOSSES[config.loss]}"]
    if config.label_smoothing:
        losses.append(f"def smoothed_loss(logits, labels):\n    {_SMOOTHED[config.loss]}")
    before, steps = [], ["for rows in batches(epoch):"]
    if config.dropout:
        before.append("MASKS.manual_seed(int(np.random.PCG64([SEED, epoch, 2]).random_raw(1)[0]) >> 1)")
    picture = "normalise(images[rows])"
    if config.augment != "none":
        before.append("changes = draw_changes(epoch).split(BATCH_SIZE)")
        picture = "augmented(images[rows], changes[step])"
    if config.augment != "none" or has_schedule(config):
        steps = ["for step, rows in enumerate(batches(epoch)):"]
    if has_schedule(config):
        steps.append(
            f'    optimizer.param_groups[0]["lr"] = learning_rate((epoch - 1) * {config.steps_per_epoch} + step)'
        )
    steps += [f"    logits = model({picture})", "    loss = loss_of(logits, labels[rows])", "    optimizer.zero_grad()"]
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


def batches(epoch):
    """Which pictures each step of an epoch sees: an order that follows from (SEED, epoch) alone."""
    draws = np.random.PCG64([SEED, epoch]).random_raw(TRAIN_IMAGES)
    order = torch.from_numpy(np.argsort(draws, kind="stable"))
    return order.to(DEVICE).split(BATCH_SIZE)


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


def _evaluation() -> Cell:
    code = '''
@torch.no_grad()
def test(model, images, labels):
    """Mean loss and accuracy."""
    model.eval()
    loss_sum = right = 0.0
    for pictures, answers in zip(images.split(500), labels.split(500)):
        logits = model(normalise(pictures))
        loss_sum += loss_of(logits, answers).item() * len(answers)
        right += (logits.argmax(1) == answers).sum().item()
    return loss_sum / len(images), right / len(images)
'''
    return Cell("Evaluation", "On the whole test set, after every epoch.", code.strip(), frozenset({"import torch"}))


def _figures(recorded: Recorded) -> Cell:
    chosen = sorted(recorded)
    if len(chosen) > MOST_EPOCHS:
        every = -(-len(chosen) // MOST_EPOCHS)
        chosen = sorted({*chosen[::every], chosen[-1]})
    rows = [f"    {epoch}: ({', '.join(map(_number, recorded[epoch]))})," for epoch in chosen]
    uses = {name for name in ("inf", "nan") if any(name in row for row in rows)}
    table = "\n".join(["RECORDED = {  # epoch: train loss, train accuracy, test loss, test accuracy", *rows, "}"])
    code = f"""
{"".join(f'{name} = float("{name}")' + chr(10) for name in sorted(uses))}{table if rows else "RECORDED = {}"}


def show(epoch, here):
    names = ("train loss", "train accuracy", "test loss", "test accuracy")
    for who, figures in (("here", here), ("recorded", RECORDED.get(epoch, ()))):
        words = [f"{{name}} {{value:.4g}}" for name, value in zip(names, figures) if value is not None]
        print(f"epoch {{epoch:3d}}  {{who:8}}  {{', '.join(words) or 'nothing'}}", flush=True)
"""
    return Cell(
        "What was recorded",
        "Sums are rounded in another order here, and every step carries the difference on: the first epoch of "
        "50,000 pictures agrees to about three digits, later ones to fewer.",
        code.strip(),
    )


def _number(value: float | None) -> str:
    return "None" if value is None else f"{value:.6g}"


def _main(run: Run) -> Cell:
    config = run.config
    name = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}.get(config.optimizer, "SGD")
    more = ", momentum=MOMENTUM" if _has_momentum(config) else ""
    if config.optimizer == "nesterov":
        more += ", nesterov=True"
    if config.weight_decay or config.optimizer == "adamw":  # whose default is another one
        more += f", weight_decay={'WEIGHT_DECAY' if config.weight_decay else '0'}"
    start, first, loaded, imports = "0", "1", "", {"import torch"}
    if run.parent:
        start, first, loaded = "START_EPOCH", "START_EPOCH + 1", "model.load_state_dict(load_file(START_WEIGHTS))\n"
        imports.add("from safetensors.torch import load_file")
    begun = "initialise(model)\n" if config.init != "default" and not run.parent else ""
    code = f"""
print(RUN)
torch.backends.cudnn.allow_tf32 = False  # float32 as it is written, as in the run
train_images, train_labels = load("train", TRAIN_IMAGES)
test_images, test_labels = load("test", 10_000)

torch.manual_seed(SEED)
model = Net()
{begun}{loaded}model = model.to(DEVICE)
optimizer = torch.optim.{name}(model.parameters(), lr=LEARNING_RATE{more})

show({start}, (None, None, *test(model, test_images, test_labels)))
for epoch in range({first}, EPOCHS + 1):
    trained = train(model, optimizer, train_images, train_labels, epoch)
    here = (*trained, *test(model, test_images, test_labels))
    show(epoch, here)
if EPOCHS in RECORDED:
    print(f"test accuracy at the end: {{here[3]:.2%}} here, {{RECORDED[EPOCHS][3]:.2%}} recorded")
"""
    text = "From the parent's weights, with a fresh optimizer." if run.parent else "From the initial weights."
    return Cell("Run", text, code.strip(), frozenset(imports), runs=True)


def _has_momentum(config: RunConfig) -> bool:
    return bool(config.momentum) and config.optimizer in ("sgd", "nesterov", "rmsprop")


def guarded(code: str) -> str:
    """For a script: run, and not if it is imported."""
    return f'if __name__ == "__main__":\n{indent(code, "    ")}'


def header(run: Run) -> list[str]:
    """What the program is, in lines, for the top of a script or notebook."""
    needs = ["torch", *(["torchvision"] if run.config.dataset == "cifar10" else []), "numpy"]
    needs += ["safetensors"] if run.parent else []
    lines = [
        "A network that cnnviz trained, in plain PyTorch: the same pictures, initial weights, batches and steps.",
        f"It needs {', '.join(needs[:-1])} and {needs[-1]}, not cnnviz. It prints its figures beside those recorded.",
    ]
    if run.parent:
        lines.append(f"The run is a fork, and starts from the weights in {start_file(run)}: keep it in this folder.")
    if run.config.dataset == "synthetic":
        lines.append("Its pictures are synthetic shapes, not CIFAR-10: they are drawn here, byte for byte the run's.")
    return lines
