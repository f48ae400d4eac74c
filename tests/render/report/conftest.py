"""One report on two small recorded runs, made once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import grid
from cnnviz.render.report import document, page
from cnnviz.render.report.document import Document
from cnnviz.store import artifacts, changes, connection, reading, reports
from cnnviz.store.runs import Run, Segment

NAME = "<script>alert('name')</script> **bold** ![x](https://evil.example/x.png) | $x$ \u202eabc"
WORDS = (
    "# Mine\n\n**tanh** wins <script>alert('words')</script> ![y](https://evil.example/y.png) [z](javascript:alert(1))"
)


@dataclass(frozen=True)
class Made:
    runs: list[Run]
    document: Document
    html: str
    steps: list[float]  # of the progress


@pytest.fixture(scope="module")
def made(_few_drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIZ_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("CNNVIZ_DATA", str(_few_drawn))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        configs = grid(None, dataset=["synthetic"], activation=["tanh", "sigmoid"], epochs=[2])
        ids = changes.schedule(configs, "cpu")
        for place, (run_id, config) in enumerate(zip(ids, configs, strict=True)):
            changes.start(run_id)
            for epoch in range(3):
                weights = initial_weights(architecture(config.model), 7 * place + epoch)
                artifacts.save_checkpoint(run_id, epoch, weights, {})
                shares = {"test_accuracy": 0.1 + 0.1234 * epoch * (1 - place), "train_accuracy": 0.1 + 0.1 * epoch}
                losses = {"test_loss": 2.3 - 0.3 * epoch, "train_loss": 2.4 - 0.4 * epoch}
                layers = {f"grad_norm/{name}": 0.1 for name in ("c1", "c3", "fc5", "fc6", "fc7")}
                segment = Segment(0, 0.0, 60.0 * (epoch + 1), "cpu", 1)
                changes.record(run_id, epoch, shares | losses | layers, [segment])
            changes.finish(run_id, "FINISHED")
        connection.client().set_tag(ids[0], "mlflow.runName", NAME)
        reports.write_words(ids, "curves", WORDS)
        reports.change(ids, lambda it: replace(it, states={"layers": "folded", "code": "left out"}))
        steps: list[float] = []
        found = document.make(reports.load(ids), lambda message, share: steps.append(share))
        yield Made([reading.run(run_id) for run_id in ids], found, page.as_html(found), steps)
