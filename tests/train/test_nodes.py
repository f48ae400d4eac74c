from pathlib import Path

import pytest

from cnnviz.train import nodes


def test_a_node_must_have_the_same_installed() -> None:
    ours = nodes.signature()
    assert nodes.difference(dict(ours), ours) == ""
    assert nodes.difference("does not answer", ours) == "does not answer"
    assert "torch 1.0" in nodes.difference(ours | {"torch": "1.0"}, ours)
    assert "another version of cnnviz" in nodes.difference(ours | {"cnnviz": "0"}, ours)


def test_what_trains_is_in_the_signature_and_what_draws_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nodes, "PACKAGE", tmp_path)
    for name in ("train/loop.py", "train/kernel.cpp", "data/cifar10.py", "config.py", "app/page.py", "__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    before, changed = nodes.signature(), []
    for path in sorted(each for each in tmp_path.rglob("*") if each.is_file()):
        path.write_text("2")
        after = nodes.signature()
        if after != before:
            changed.append(path.name)
        before = after
    assert sorted(changed) == ["cifar10.py", "config.py", "kernel.cpp", "loop.py"]
