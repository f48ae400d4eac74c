"""What README, ARCHITECTURE and their like say is so."""

import re
import shlex
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from cnnviz import __main__ as command_line
from cnnviz import paths
from cnnviz.analysis import milestones
from cnnviz.analysis.evidence import RunLines
from cnnviz.config import RunConfig
from cnnviz.store import artifacts, changes, connection
from cnnviz.store.runs import Prediction, Segment, StackHistory
from tests.helpers.findings import drawn
from tests.helpers.processes import run_warm
from tests.helpers.projects import copied, run_in
from tests.helpers.runs import seed

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def read(name: str) -> str:
    return (paths.PROJECT / name).read_text(encoding="utf-8")


def fenced(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(name), re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in fenced("README.md", "console") for line in block.splitlines()]


def test_readme_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    known = set(re.findall(r"^    (\w+) +\S", capsys.readouterr().out, re.MULTILINE))
    assert {shlex.split(line)[3] for line in COMMANDS} == known


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: shlex.split(line)[3])
def test_readmes_command_lines_run(
    line: str, tmp_path: Path, few_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are printed, but for the data set and the size, so that they take seconds."""
    (run_id,) = seed([0.1, 0.4])
    python, _, module, *words = shlex.split(line.replace("RUN_ID", run_id[:8]))
    assert (python, module) == ("python", "cnnviz")
    small = {
        "train": ["--dataset", "synthetic", "--limit-train", "20"],
        "features": ["--out", str(tmp_path / "it.png")],
        "export": ["--out", str(tmp_path / "run.py")],
        "report": ["--out", str(tmp_path / "it.html")],
    }
    words = [str(1) if word == "20" else word for word in words] + small.get(words[0], [])
    status = command_line.main(words)
    said = capsys.readouterr()
    if words[0] == "stop":
        assert "is not training" in said.err, "it has ended already"
    elif words[0] == "cluster":
        assert "set CNNVIZ_RAY" in said.err
    elif words[0] == "data":
        assert "CNNVIZ_DATA" in said.err, "CIFAR-10 is not in this test's folder"
    elif words[0] == "continue":
        assert "2/2" in said.out
    else:
        assert status == 0, said.err


def test_readmes_notebook_runs(few_pictures: Path) -> None:
    (block,) = fenced("README.md", "python")
    small = block.replace('data.load("cifar10")', 'data.load("synthetic")').replace(
        "epochs=2", 'epochs=1, dataset="synthetic", limit_train=50'
    )
    assert small.count("limit_train") == 2
    done = run_warm(program=small)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4, "two runs, epochs 0 and 1"


def snippets(section: str) -> list[str]:
    """The Python blocks of one section of CONTRIBUTING.md."""
    text = read("CONTRIBUTING.md").split(f"## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^   ```python\n(.*?)^   ```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def test_contributings_finding_is_one() -> None:
    (block,) = snippets("Add a finding")
    there: dict[str, Any] = dict(vars(milestones))
    exec(block, there)
    lines = {0.995: "99.5 %", 0.98: None}
    for last, words in lines.items():
        run = RunLines(RunConfig(), drawn(test_accuracy=[0.1, 0.5, last]))
        finding = there["nearly_perfect"](run)
        assert words in finding.sentence if words else finding is None


def test_contributings_page_opens(tmp_path: Path, few_pictures: Path) -> None:
    """In a copy of the project, its files made as the text has it."""
    copied(tmp_path)
    page, call, line = (block.replace("NAME", "statuses") for block in snippets("Add a page"))
    folder = tmp_path / "cnnviz" / "app" / "statuses"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "page.py").write_text(page)
    (tmp_path / "pages" / "statuses.py").write_text(call)
    shell = tmp_path / "cnnviz" / "app" / "shell.py"
    listed = '    "curves": ('
    assert shell.read_text().count(listed) == 1
    shell.write_text(shell.read_text().replace(listed, f"    {line.strip()}\n{listed}"))
    run_in(tmp_path, NEW_PAGE)


NEW_PAGE = """
from cnnviz.app import cache
from cnnviz.config import RunConfig
from cnnviz.store import changes

for runs, shown in ((0, []), (2, [("waiting", "2")])):
    changes.schedule([RunConfig(model="f12")] * runs, "cpu")
    cache.all_runs.clear()
    opened = AppTest.from_file("app.py", default_timeout=60).run().switch_page("pages/statuses.py").run()
    said = [each.value for each in (*opened.exception, *opened.error)]
    assert not said, said
    assert opened.title[0].value == "Statuses"
    found = [(each.label, each.value) for each in opened.metric]
    assert [(label.split()[-1], value) for label, value in found] == shown, found
"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_is_there(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", read(name)) if "://" not in link]
    files = re.findall(
        r"`((?:cnnviz|tests|benchmarks|pages|app|render|jobs|analysis|train|store|data)/[\w/.*-]+)`", read(name)
    )
    for each in [*links, *files]:
        if name == "CONTRIBUTING.md" and "NAME" in each:
            continue
        places = (paths.PROJECT / each, paths.PROJECT / "cnnviz" / each)
        assert any(place.exists() or list(place.parent.glob(place.name)) for place in places), f"{name}: {each}"


def test_the_map_has_every_package_and_module() -> None:
    (the_map, *_) = re.findall(r"^```\n(app .*?)^```", read("ARCHITECTURE.md"), re.DOTALL | re.MULTILINE)
    for path in (paths.PROJECT / "cnnviz").glob("*/**/*.py"):
        module = path.parent.name if path.name == "__init__.py" else path.stem
        in_a_page = path.relative_to(paths.PROJECT / "cnnviz").parts[:2] in [
            ("app", "home"),
            ("app", "runs"),
            ("app", "curves"),
            ("app", "maps"),
            ("app", "report"),
            ("app", "mistakes"),
        ]
        named = in_a_page or re.search(rf"\b{module}\b", the_map)
        assert named, f"{path.relative_to(paths.PROJECT)} is not in the map: add {module} to ARCHITECTURE.md's"


def test_the_list_of_tags_is_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")  # where runs are claimed
    listed = set(
        re.findall(
            r"`(\w+)`", "\n".join(re.findall(r"^  \| (`\w+`(?:, `\w+`)*) \|", read("ARCHITECTURE.md"), re.MULTILINE))
        )
    )
    (run_id,) = changes.schedule([RunConfig(model="f12", epochs=1)], "cpu", [Prediction(0.0, True, True)])
    changes.start(run_id, "a message", StackHistory(run_id, 1, ((0, (run_id[:12],)),)))
    artifacts.save_checkpoint(run_id, 0, _weights(), {})
    changes.record(run_id, 0, {"test_accuracy": 0.1, "test_loss": 2.3}, [Segment(0, 0.0, 1.0, "cpu", 1)])
    changes.request_stop([run_id])
    forked = changes.fork(run_id, 0, {"lr": 0.5}, 1, "cpu")
    (patient,) = changes.schedule([RunConfig(model="f12", epochs=1, validation=100, patience=1)], "cpu")
    changes.start(patient)
    changes.finish(patient, "FINISHED")
    changes.continue_runs([patient], 1)
    written = {tag for each in (run_id, forked, patient) for tag in connection.client().get_run(each).data.tags}
    assert {f"cnnviz.{tag}" for tag in listed} == {tag for tag in written if tag.startswith("cnnviz.")}


def _weights() -> dict[str, object]:
    from cnnviz.architectures import architecture, initial_weights

    return dict(initial_weights(architecture("f12"), 0))


def test_no_machine_and_no_registry_is_named() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=paths.PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files are the project's")
    names = [
        "pypi" + ".org",
        "files.python" + "hosted",
        "deb." + "debian.org",
        "registry." + "npmjs",
        "/opt/" + "venv",
        "/tmp/" + "wt",
        "/wo" + "rk/",
    ]
    for each in listed.stdout.splitlines():
        content = (paths.PROJECT / each).read_bytes()
        for name in names:
            assert name.encode() not in content, f"{each} names {name}"
