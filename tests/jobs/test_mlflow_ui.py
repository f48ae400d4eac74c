import psutil
import pytest

from cnnviz.errors import StoreError
from cnnviz.jobs import mlflow_ui
from cnnviz.store import changes
from tests.helpers.workers import TINY

pytestmark = pytest.mark.usefixtures("synthetic_root", "no_process_left")


def test_mlflows_own_ui_starts_on_loopback_and_only_once() -> None:
    changes.schedule([TINY], "cpu")
    url = mlflow_ui.start(5750)
    assert url.startswith("http://127.0.0.1:57")
    assert mlflow_ui.start(5750) == url
    port = int(url.rsplit(":", 1)[1])
    listening = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_an_mlflow_ui_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://store")
    with pytest.raises(StoreError, match="did not start"):
        mlflow_ui.start(5790)
