"""A program that trains one run anew in plain PyTorch: its parts in the order in which they are run."""

from collections.abc import Mapping, Sequence

from cnnviz.architectures import LARGE, SMALL
from cnnviz.config import TRAINING_IMAGES, RunConfig
from cnnviz.render.code import pictures, training
from cnnviz.render.code.cell import Cell, literal
from cnnviz.render.code.model import DROPOUT, model
from cnnviz.store.runs import Run

FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
_VALIDATION = ("val_loss", "val_accuracy")
MOST_EPOCHS = 100  # of which the recorded figures are written down

Recorded = Mapping[int, Sequence[float | None]]  # epoch → figures_of its configuration; None: not recorded


def figures_of(config: RunConfig) -> tuple[str, ...]:
    """The metrics that its program prints."""
    return (*FIGURES, *_VALIDATION) if config.validation else FIGURES


def start_file(run: Run) -> str:
    """Name of the file of weights that a fork starts from; "" for a run that starts from initial ones."""
    return f"run_{run.id[:8]}-start.safetensors" if run.parent else ""


def cells(run: Run, recorded: Recorded) -> list[Cell]:
    """In the order in which they are run."""
    data = (pictures.drawn if run.config.dataset == "synthetic" else pictures.cifar10)(run.config)
    changed = [pictures.augmentation(run.config)] if run.config.augment != "none" else []
    rate = [] if run.config.has_constant_rate else [training.schedule(run.config)]
    trained = [training.training(run.config), training.evaluation(run.config)]
    return [_settings(run), data, *changed, _model(run), *rate, *trained, _figures(run.config, recorded), _main(run)]


def _settings(run: Run) -> Cell:
    config = run.config
    trained = run.epoch > run.first_epoch and not config.patience
    last = run.epoch if trained else config.epochs
    lines = [f"RUN = {literal(run.name)}"]
    lines += ['DATA = "data"  # folder of CIFAR-10, which is downloaded if it is not there'] * (
        config.dataset == "cifar10"
    )
    lines.append(f"TRAIN_IMAGES = {config.train_size:_}  # the first so many")
    if config.validation:
        lines.append(f"VALIDATION_IMAGES = {config.validation:_}  # the last so many")
    if config.patience:
        lines.append(f"PATIENCE = {config.patience}  # epochs without a lower validation loss, then it stops")
        lines.append(f"PATIENCE_FROM = {run.patience_from}  # the epoch that they are counted from at the earliest")
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


def _figures(config: RunConfig, recorded: Recorded) -> Cell:
    chosen = sorted(recorded)
    if len(chosen) > MOST_EPOCHS:
        every = -(-len(chosen) // MOST_EPOCHS)
        chosen = sorted({*chosen[::every], chosen[-1]})
    rows = [f"    {epoch}: ({', '.join(map(_number, recorded[epoch]))})," for epoch in chosen]
    uses = {name for name in ("inf", "nan") if any(name in row for row in rows)}
    names = [name.replace("_", " ") for name in figures_of(config)]
    table = "\n".join([f"RECORDED = {{  # epoch: {', '.join(names)}", *rows, "}"])
    code = f"""
{"".join(f'{name} = float("{name}")' + chr(10) for name in sorted(uses))}{table if rows else "RECORDED = {}"}


def show(epoch, here):
    names = {tuple(names)}
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


_PATIENCE = (
    """
lowest, best_epoch = float("inf"), {start}  # validation loss
best = {{name: each.clone() for name, each in model.state_dict().items()}}
""".lstrip(),
    """
    if here[4] < lowest:
        lowest, best_epoch = here[4], epoch
        best = {name: each.clone() for name, each in model.state_dict().items()}
    if epoch - max(best_epoch, PATIENCE_FROM) >= PATIENCE:
        break
""".lstrip("\n"),
    """
model.load_state_dict(best)
print(f"epoch {best_epoch} has the lowest validation loss: the weights are now those after it")
""".lstrip(),
)


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
    labels = "train_labels = shuffled(train_labels)\n" if config.mistake == "random-labels" else ""
    begun = "initialise(model)\n" if config.init != "default" and not run.parent else ""
    read, tests = 'train_images, train_labels = load("train", TRAIN_IMAGES)', "*test(model, test_images, test_labels)"
    if config.validation:
        tests += ", *test(model, validation_images, validation_labels)"
        read = f"""
train_images, train_labels = load("train", {TRAINING_IMAGES:_})
validation_images, validation_labels = train_images[-VALIDATION_IMAGES:], train_labels[-VALIDATION_IMAGES:]
train_images, train_labels = train_images[:TRAIN_IMAGES], train_labels[:TRAIN_IMAGES]
""".strip()
    watch, stop, keep = _PATIENCE if config.patience else ("", "", "")
    code = f"""
print(RUN)
torch.backends.cudnn.allow_tf32 = False  # float32 as it is written, as in the run
{read}
{labels}test_images, test_labels = load("test", 10_000)

torch.manual_seed(SEED)
model = Net()
{begun}{loaded}model = model.to(DEVICE)
optimizer = torch.optim.{name}(model.parameters(), lr=LEARNING_RATE{more})

here = (None, None, {tests})
show({start}, here)
{watch.format(start=start)}for epoch in range({first}, EPOCHS + 1):
    trained = train(model, optimizer, train_images, train_labels, epoch)
    here = (*trained, {tests})
    show(epoch, here)
{stop}if epoch in RECORDED:
    print(f"test accuracy at the end: {{here[3]:.2%}} here, {{RECORDED[epoch][3]:.2%}} recorded")
{keep}"""
    text = "From the parent's weights, with a fresh optimizer." if run.parent else "From the initial weights."
    return Cell("Run", text, code.strip(), frozenset(imports), runs=True)


def _has_momentum(config: RunConfig) -> bool:
    return bool(config.momentum) and config.optimizer in ("sgd", "nesterov", "rmsprop")


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
