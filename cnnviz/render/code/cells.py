"""The parts of a program that trains one run anew in plain PyTorch: cells of a notebook, sections of a script."""

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from cnnviz.data import shapes
from cnnviz.render.code.model import model
from cnnviz.store.runs import Run

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
    return [_settings(run), data, _model(run), _training(run), _evaluation(), _figures(recorded), _main(run)]


def import_lines(imports: frozenset[str]) -> str:
    """Python's own first, then the others, as import sorters have them."""
    first = sorted(line for line in imports if line.split()[1].split(".")[0] in ("os", "collections", "concurrent"))
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
    if config.optimizer == "sgd" and config.momentum:
        lines.append(f"MOMENTUM = {config.momentum!r}")
    if config.weight_decay:
        lines.append(f"WEIGHT_DECAY = {config.weight_decay!r}  # L2: added to the gradient")
    lines.append(f"SEED = {config.seed}  # of the initial weights and, with the epoch, of the order of the pictures")
    if run.parent:
        lines.append(f"START_WEIGHTS = {literal(start_file(run))}  # its parent's after epoch START_EPOCH")
        lines.append(f"START_EPOCH = {run.first_epoch}")
    lines += [f"EPOCHS = {last}", 'DEVICE = "cuda" if torch.cuda.is_available() else "cpu"']
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


def _model(run: Run) -> Cell:
    return Cell(
        "Model",
        "Layers are numbered in one sequence. PyTorch's default initial weights.",
        model(run.architecture, run.config.activation, run.config.pooling),
        frozenset({"import torch", "from torch import nn"}),
    )


_LOSSES = {
    "cross_entropy": "return F.cross_entropy(logits, labels)",
    "mse": "return F.mse_loss(logits, F.one_hot(labels, 10).float())  # over pictures and classes",
}


def _training(run: Run) -> Cell:
    code = f'''
def loss_of(logits, labels):
    {_LOSSES[run.config.loss]}


def batches(epoch):
    """Which pictures each step of an epoch sees: an order that follows from (SEED, epoch) alone."""
    draws = np.random.PCG64([SEED, epoch]).random_raw(TRAIN_IMAGES)
    order = torch.from_numpy(np.argsort(draws, kind="stable"))
    return order.to(DEVICE).split(BATCH_SIZE)


def train(model, optimizer, images, labels, epoch):
    """One epoch; its mean loss and accuracy, as the network learns."""
    model.train()
    loss_sum = right = 0.0
    for rows in batches(epoch):
        logits = model(normalise(images[rows]))
        loss = loss_of(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(rows)
        right += (logits.argmax(1) == labels[rows]).sum().item()
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
        "Sums are rounded in another order here, and every step carries the difference on: an epoch agrees to several "
        "digits, twenty epochs to about a percent of accuracy.",
        code.strip(),
    )


def _number(value: float | None) -> str:
    return "None" if value is None else f"{value:.6g}"


def _main(run: Run) -> Cell:
    config = run.config
    name, more = ("Adam", "") if config.optimizer == "adam" else ("SGD", "")
    if config.optimizer == "sgd" and config.momentum:
        more += ", momentum=MOMENTUM"
    if config.weight_decay:
        more += ", weight_decay=WEIGHT_DECAY"
    start, first, loaded, imports = "0", "1", "", {"import torch"}
    if run.parent:
        start, first, loaded = "START_EPOCH", "START_EPOCH + 1", "model.load_state_dict(load_file(START_WEIGHTS))\n"
        imports.add("from safetensors.torch import load_file")
    code = f"""
print(RUN)
torch.backends.cudnn.allow_tf32 = False  # float32 as it is written, as in the run
train_images, train_labels = load("train", TRAIN_IMAGES)
test_images, test_labels = load("test", 10_000)

torch.manual_seed(SEED)
model = Net()
{loaded}model = model.to(DEVICE)
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
