"""What is around every page: errors as one line, logs without passwords, the link to MLflow's UI."""

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import cache
from cnnviz.store import addresses
from tests.helpers.runs import seed

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def app() -> AppTest:
    return AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run().switch_page("pages/runs.py").run()


def test_no_password_is_shown_or_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise RuntimeError("API request to http://user:secret@host/api failed")

    monkeypatch.setattr(cache, "runs", failing)
    opened = app()
    assert "Unexpected: RuntimeError" in str(opened.error[0].value).replace("\\", "")
    log = (paths.home() / "app.log").read_text()
    assert "http://user:***@host/api failed" in log
    assert "Traceback" in log
    assert "secret" not in log + str([each.value for each in opened.error])


def test_a_server_that_is_down_is_one_line_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    opened = app()
    assert not opened.exception
    (line,) = {str(each.value).replace("\\", "") for each in opened.error}
    assert line.startswith("the store at http://user:***@127.0.0.1:9 cannot be used: it does not answer")


def test_a_servers_own_user_interface_is_linked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    seed([0.1, 0.4])
    assert [each.label for each in app().button if each.key == "mlflow"] == ["Open MLflow's UI"]
    monkeypatch.setattr(addresses, "is_server", lambda: True)
    monkeypatch.setattr(addresses, "for_browser", lambda: "http://host:5000")
    opened = app()
    assert not opened.error
    assert not [each for each in opened.button if each.key == "mlflow"]
    assert "http://host:5000" in str(opened.get("link_button")[0].proto)
