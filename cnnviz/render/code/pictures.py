"""The part of a program that reads or draws the pictures, and changes those it trains on."""

import ast
import inspect

from cnnviz.config import RunConfig
from cnnviz.data import shapes
from cnnviz.data.pixels import STATISTICS
from cnnviz.render.code.cell import Cell


def _normalise(config: RunConfig) -> str:
    shape, pixels = "uint8 (N, 32, 32, 3) → float32 (N, 3, 32, 32)", "images.permute(0, 3, 1, 2).float()"
    if config.normalise == "standard":
        mean, deviation = STATISTICS[config.dataset]
        return f'''
MEAN, DEVIATION = {mean}, {deviation}  # of the colours, over all training pictures


def normalise(images):
    """{shape}, standardised colour by colour."""
    mean, deviation = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in (MEAN, DEVIATION))
    return ({pixels} / 255 - mean) / deviation
'''
    said, rest = ("from 0 to 255", "") if config.normalise == "raw" else ("from -1 to 1", " / 127.5 - 1")
    return f'''
def normalise(images):
    """{shape} {said}."""
    return {pixels}{rest}
'''


def cifar10(config: RunConfig) -> Cell:
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
        (code + _normalise(config)).strip(),
        frozenset({"import torch", "from torchvision.datasets import CIFAR10"}),
    )


def drawn(config: RunConfig) -> Cell:
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
        f"{drawing}\n\n{code.rstrip()}\n\n{_normalise(config)}".strip(),
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


def augmentation(config: RunConfig) -> Cell:
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
