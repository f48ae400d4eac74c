"""Vega's scripts, and charts as pictures, each made in a process of its own: there it holds up nobody for seconds."""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from cnnviz.errors import CnnvizError

SCALE = 2.0  # pixels of a chart's picture, to be sharp on paper
_BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
_PICTURES = """
import base64, json, sys, vl_convert
for spec in json.load(sys.stdin):
    print(base64.b64encode(vl_convert.vegalite_to_png(spec, scale=float(sys.argv[1]))).decode(), flush=True)
"""
_pool = ThreadPoolExecutor(1, thread_name_prefix="vega")
_lock = Lock()
_bundle: Future[str] | None = None


def prepare() -> None:
    """Begin to make the scripts, which takes as long as a report's figures: beside them."""
    global _bundle
    with _lock:
        if _bundle is None or (_bundle.done() and _bundle.exception()):
            _bundle = _pool.submit(lambda: _run(_BUNDLE))


def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script. Made once a process. Raises CnnvizError."""
    prepare()
    assert _bundle is not None
    return _bundle.result()


def pictures(specs: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Vega-Lite charts as PNG. Raises CnnvizError."""
    if not specs:
        return []
    return [base64.b64decode(line) for line in _run(_PICTURES, json.dumps(specs), str(SCALE)).split()]


def _run(program: str, given: str = "", *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, input=given.encode(), capture_output=True)  # noqa: S603 — our own programs
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise CnnvizError(f"charts could not be drawn ({why[-1] if why else done.returncode}): try again")
    return done.stdout.decode()
