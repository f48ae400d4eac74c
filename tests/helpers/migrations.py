"""MLflow's 67 migrations of a database, which it reads anew whenever a store is opened."""

import functools
from typing import Any

from mlflow.store.db import utils


def read_migrations_once() -> None:
    """In this process, and in those forked from it."""
    ours: Any = utils
    ours._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)
    ours._get_latest_schema_revision()
