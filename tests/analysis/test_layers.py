"""Findings on gradients and units, on recorded runs and on drawn ones."""

from dataclasses import replace

import numpy as np
import pytest

from cnnviz.config import RunConfig
from tests.helpers.findings import (
    BASE,
    Line,
    drawn,
    found,
    recorded,
)


@pytest.mark.parametrize("name", ["cross_entropy-0.01", "cross_entropy-0.001", "mse-0.01", "mse-0.001"])
def test_stalled_sigmoids_are_at_chance_with_the_gradient_as_evidence(name: str) -> None:
    findings = found(*recorded(f"sigmoid-{name}"))
    assert {finding.severity for finding in findings.values()} == {"alarm"}
    stalled, vanishing = findings["chance_level"], findings["vanishing_gradients"]
    assert stalled.severity == "alarm"
    assert "that of giving every class the same share" in stalled.sentence
    assert "times smaller than fc7's" in stalled.sentence
    assert vanishing.evidence["fold"] > 300
    assert "1/256 or less" in vanishing.sentence
    assert "Saturation is not the reason" in vanishing.sentence
    assert vanishing.test is not None
    assert vanishing.test.changes == {"activation": "tanh"}


def test_dying_relus_are_found_in_their_layer() -> None:
    silent = np.concatenate([np.full(5, 0.5), np.linspace(0.6, 1.0, 5), np.ones(6)])
    config = replace(BASE, activation="relu")
    lines: dict[str, Line] = {
        "saturation__c3": silent,
        "saturation__c1": np.full(16, 0.5),
        "test_accuracy": [0.1, *[0.3] * 6, *[0.1] * 9],
    }
    findings = found(config, drawn(**lines, grad_norm__c1=[0.1] * 10 + [0.0] * 6, grad_norm__fc7=[0.1] * 16))
    assert list(findings) == ["chance_level", "dead_relus"]
    assert findings["dead_relus"].title == "Dead ReLUs in c3 since epoch 8"
    assert "No gradient reaches c1" in findings["dead_relus"].sentence


def test_half_silent_relus_are_as_they_should_be() -> None:
    assert found(replace(BASE, activation="relu"), drawn(saturation__c3=[0.7] * 20)) == {}
    sparse = found(replace(BASE, activation="relu"), drawn(saturation__c3=[0.93] * 20))["dead_relus"]
    assert sparse.severity == "note"
    assert found(replace(BASE, activation="gelu"), drawn(saturation__c3=[0.99] * 20)) == {}


def test_a_saturated_tanh_makes_the_gradient_vanish() -> None:
    lines = {f"saturation__{layer}": [0.0] + [0.8] * 9 for layer in ("c1", "c3", "fc5", "fc6")}
    norms = {"grad_norm__c1": [0.001] * 10, "grad_norm__fc7": [1.0] * 10}
    finding = found(BASE, drawn(test_accuracy=[0.1] * 10, **lines, **norms))["vanishing_gradients"]
    assert finding.severity == "alarm"
    assert "80 % of c1's units are saturated" in finding.sentence
    learning = found(BASE, drawn(test_accuracy=[0.5] * 10, **norms))["vanishing_gradients"]
    assert learning.severity == "note"


@pytest.mark.parametrize(
    ("activation", "word"),
    [("sigmoid", "saturated"), ("tanh", "saturated")]
    + [(name, "inactive") for name in ("relu", "leaky_relu", "gelu", "silu")],
)
def test_flat_units_are_saturated_or_inactive_by_their_activation(activation: str, word: str) -> None:
    norms = {"grad_norm__c1": [0.001] * 10, "grad_norm__fc7": [1.0] * 10}
    findings = found(
        replace(BASE, activation=activation), drawn(test_accuracy=[0.5] * 10, saturation__c3=[0.79] * 10, **norms)
    )
    assert f"79 % of c3's units are {word}: their slope is almost 0" in findings["vanishing_gradients"].sentence
    assert ("saturated" in " ".join(finding.sentence for finding in findings.values())) == (word == "saturated")


def test_a_gradient_that_dead_units_cut_off_did_not_vanish() -> None:
    lines = {"saturation__c3": [0.995] * 12, "grad_norm__c1": [1e-5] * 12, "grad_norm__fc7": [1.0] * 12}
    findings = found(replace(BASE, activation="relu"), drawn(test_accuracy=[0.1] * 12, **lines))
    assert list(findings) == ["chance_level", "dead_relus"]


def test_what_is_tried_against_a_vanishing_gradient() -> None:
    """A steeper activation where there is one, else He's initial weights; at chance level longer steps, too."""
    norms = {"grad_norm__c1": [0.001] * 12, "grad_norm__fc7": [1.0] * 12}

    def tried(config: RunConfig, share: float) -> list[dict[str, object]]:
        finding = found(config, drawn(test_accuracy=[share] * 12, **norms))["vanishing_gradients"]
        return [dict(trial.changes) for trial in ([finding.test] if finding.test else []) + list(finding.more)]

    relu, norm = replace(BASE, activation="relu"), {"batch_norm": "on"}
    assert tried(relu, 0.1) == [{"init": "he"}, norm, {"lr": 0.1}]
    assert tried(relu, 0.5) == [{"init": "he"}, norm]
    assert tried(replace(relu, init="he", batch_norm="on"), 0.5) == []
    assert tried(replace(BASE, activation="sigmoid"), 0.5) == [{"activation": "tanh"}, norm]
    assert tried(replace(BASE, activation="sigmoid", init="small"), 0.5)[0] == {"init": "xavier"}
    assert tried(replace(BASE, activation="sigmoid", batch_size=1), 0.5) == [{"activation": "tanh"}]  # no batch to norm


def test_saturated_from_the_start_or_by_long_steps() -> None:
    for start, first in ((0.6, {"init": "xavier"}), (0.0, {"lr": 0.001})):
        finding = found(BASE, drawn(test_accuracy=[0.5] * 10, saturation__c3=[start] + [0.7] * 9))["saturated_units"]
        assert finding.test is not None
        assert finding.test.changes == first
        assert len(finding.more) == 2
