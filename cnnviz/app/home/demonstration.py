"""Two small networks trained on the drawn shapes, one that learned and one that did not, shipped with cnnviz.

They play on Home while there are no runs: their weights after every epoch go to the browser, which computes what they
see, so that nothing needs to be trained, downloaded or even loaded. `python -m cnnviz.app.home.demonstration` trains
them anew.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Any

from cnnviz.app.components import component

FILE = Path(__file__).with_name("shapes.safetensors")
MODEL = "c6k5-s2-c8k5-s2-f32"
PICTURES = 10_000  # to train on
EPOCHS = 15
CLASSES = ("disc", "ring", "triangle", "square", "cross", "star", "crescent", "stripes", "checks", "dots")
NETWORKS: dict[str, dict[str, Any]] = {  # what differs; the rest is alike
    "good": {"activation": "tanh", "lr": 0.05},
    "stalled": {"activation": "sigmoid", "lr": 0.01},
}


_demonstration = component("demonstration", '<div class="demonstration"></div>')


def show() -> None:
    """The two networks, playing."""
    _demonstration(key="demonstration", data=content())


@cache
def content() -> dict[str, Any]:
    """What the browser needs."""
    networks = [
        {"name": name, "activation": what["activation"], "words": f"{what['activation']}, learning rate {what['lr']}"}
        for name, what in NETWORKS.items()
    ]
    file = base64.b64encode(FILE.read_bytes()).decode()
    return {"file": file, "networks": networks, "epochs": EPOCHS, "classes": CLASSES}


def make() -> None:
    """Train the two networks and write FILE: tensors "NETWORK/EPOCH/WEIGHT" in half precision; "NETWORK/accuracy", the
    share of the test set that was right after each epoch; "pictures", uint8 (10, 32, 32, 3), of the test set the first
    of each class in the order of the classes."""
    import torch
    from safetensors.torch import save_file

    from cnnviz import data
    from cnnviz.config import RunConfig
    from cnnviz.train.loop import LateFigures, train_stack

    dataset = data.load("synthetic")
    configs = [
        RunConfig(MODEL, pooling="avg", dataset="synthetic", limit_train=PICTURES, epochs=EPOCHS, **what)
        for what in NETWORKS.values()
    ]
    names, accuracies = list(NETWORKS), torch.zeros(len(NETWORKS), EPOCHS + 1)
    tensors: dict[str, torch.Tensor] = {}
    for result in train_stack(configs, dataset.limited(PICTURES), method="eager"):
        if isinstance(result, LateFigures):
            continue
        name = names[result.member]
        accuracies[result.member, result.epoch] = result.metrics["test_accuracy"]
        tensors |= {f"{name}/{result.epoch}/{key}": weight.half() for key, weight in result.weights.items()}
        print(f"{name}: {result.metrics['test_accuracy']:.2%} after epoch {result.epoch}", flush=True)
    tensors |= {f"{name}/accuracy": accuracies[index] for index, name in enumerate(names)}
    firsts = [int((dataset.test_labels == label).nonzero()[0]) for label in range(len(dataset.classes))]
    tensors["pictures"] = dataset.test_images[firsts].contiguous()
    save_file(tensors, FILE)


if __name__ == "__main__":
    make()
