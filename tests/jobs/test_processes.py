import sys

import psutil
import pytest

from cnnviz.jobs import processes
from cnnviz.jobs.files import job_file
from tests.helpers.workers import wait_for

pytestmark = pytest.mark.usefixtures("synthetic_root", "no_process_left")


def test_a_log_is_begun_again_where_it_grew_too_long() -> None:
    log = job_file("cpu", "log")
    log.write_bytes(bytes(processes.LOG_BYTES + 1))
    processes.bound(job_file("cpu", "log"))
    assert log.stat().st_size == 0


def test_no_zombie_is_left() -> None:
    process = processes.detached([sys.executable, "-c", ""], job_file("cpu", "log"))
    wait_for(lambda: not psutil.pid_exists(process.pid), 20)
