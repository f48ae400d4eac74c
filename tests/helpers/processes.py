"""Processes of a test."""

import subprocess

import psutil


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of the process and of those it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        each.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)
