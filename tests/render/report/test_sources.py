import shutil

import pytest
import torch

from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError
from cnnviz.inspection import outputs
from cnnviz.inspection.network import Prediction
from cnnviz.render.report.sources import Sources
from cnnviz.store import artifacts, reading
from cnnviz.store.runs import Run
from tests.helpers.runs import trained


@pytest.mark.usefixtures("few_pictures")
def test_answers_computed_ahead_are_those_asked_for_and_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, without = (reading.run(trained(RunConfig("f12", dataset="synthetic", seed=seed))) for seed in (1, 2))
    shutil.rmtree(artifacts.folder_of(without.id))
    computed: list[tuple[str, int]] = []
    really = outputs.of

    def counted(run: Run, epoch: int, *rest: object) -> Prediction:
        computed.append((run.id, epoch))
        return really(run, epoch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(outputs, "of", counted)
    sources = Sources([whole, without], reading.runs())
    sources.look_ahead([whole, without])  # what is missing is said to who asks for it
    found = sources.answers(whole, 3)
    again = sources.answers(whole, 3)
    with pytest.raises(CheckpointError):
        sources.answers(without, 3)
    assert computed.count((whole.id, 3)) == 1
    assert torch.equal(found.logits, again.logits)
    assert torch.equal(found.classes, really(whole, 3, sources.dataset(whole)).classes)
