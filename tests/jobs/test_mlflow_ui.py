import http.client
import json
import urllib.request
from pathlib import Path

import psutil
import pytest

from cnnviz.errors import StoreError
from cnnviz.jobs import mlflow_ui
from cnnviz.store import changes, connection
from tests.helpers.workers import TINY

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_mlflows_own_ui_listens_on_loopback_starts_once_and_refuses_a_rebound_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "100%? of it"))
    (run_id,) = changes.schedule([TINY], "cpu")
    url = mlflow_ui.start(5750)
    assert url.startswith("http://127.0.0.1:57")
    assert mlflow_ui.start(5750) == url
    port = int(url.rsplit(":", 1)[1])
    listening = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
    asked = json.dumps({"experiment_ids": [connection.experiment()]}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/ajax-api/2.0/mlflow/runs/search", asked, headers), timeout=60
    ) as answer:
        assert [each["info"]["run_id"] for each in json.load(answer)["runs"]] == [run_id]
    for host, status in [(f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), (f"evil.example:{port}", 403)]:
        connected = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connected.request("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host})
        assert connected.getresponse().status == status, host
        connected.close()
    commands = [
        each.cmdline() for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE
    ]
    assert sum("mlflow.server" in " ".join(command) for command in commands) == 1, commands  # none for jobs
    assert not any("sqlite" in word for command in commands for word in command), "a password would be seen by all"


def test_an_mlflow_ui_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://store")
    with pytest.raises(StoreError, match="did not start"):
        mlflow_ui.start(5790)
