"""A real server and a real browser: who is answered, and what an uploaded rubbish does."""

import http.client
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers.hostile import sample
from tests.helpers.runs import seed
from tests.helpers.screens import page_of


@pytest.mark.usefixtures("few_pictures")
def test_only_this_machine_is_answered_and_rubbish_is_refused_in_a_line(
    browser: Any,
    address: str,
    tmp_path: Path,
) -> None:
    port = int(address.rsplit(":", 1)[1])
    listening = {
        each.laddr.ip for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
    }
    assert listening == {"127.0.0.1"}
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for host, answer in [(f"127.0.0.1:{port}", 101), (f"evil.example:{port}", 403)]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/_stcore/stream", headers={**upgrade, "Host": host, "Origin": f"http://{host}"})
        assert connection.getresponse().status == answer, host
        connection.close()

    (run_id,) = seed([0.1, 0.4], name="<img src=https://evil.example/x onerror=alert(1)> ![x](https://evil.example/y)")
    page = page_of(browser, f"{address}/feature_maps?run={run_id[:8]}")
    page.get_by_label("Class probabilities").wait_for()
    page.get_by_role("button", name="More").click()
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload")).first.click()
    for name, content in sample().items():
        (tmp_path / name).write_bytes(content)
        page.locator("input[type=file]").first.set_input_files(str(tmp_path / name))
        page.get_by_text(f"{name} ").last.wait_for()
        page.locator("[data-testid=stAlertContentError]", has_text=name).wait_for()
    for path, text in (
        ("", "Projector"),
        ("runs", "Tick runs to compare"),
        ("curves", "onerror=alert"),
        ("feature_maps", "onerror=alert"),
    ):
        page.goto(f"{address}/{path}?runs={run_id[:8]}&run={run_id[:8]}")
        page.get_by_text(text).or_(page.get_by_title(text)).first.wait_for(state="attached")
    assert page.locator("img[src*=evil]").count() == 0
