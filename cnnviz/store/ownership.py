"""Whose a run is: only the workers of that installation train it, and only they change its status while it is active.

The embedded store is this machine's alone: whoever has the folder has its runs, whatever their tags say. On a store
that may be shared, a run belongs to the installation that scheduled it (a tag), until another one claims it to continue
it.

A claim is a param, `cnnviz.owner/1`, `/2` and so on, with the id of the installation that claims. MLflow refuses a
second value of a param, and a SQL store has it in its primary key, so of any number of machines that claim the same
number one wins: the compare-and-set that tags lack. The owner is who has the highest number. The claim is *settled*
once the run is scheduled: the tag `cnnviz.claim` then holds its number, written in the transaction that writes the
status.

Why a run is never trained by two: a run is claimed only if it is over and its highest claim, n, is settled, with the
number n + 1.
- Whoever wins n + 1 knows that nobody has claimed since it looked, as claims have no gaps. Without a claim an idle run
  stays idle, so it is still over, and whoever trained it under n has written its end and is done with it.
- Whoever looks between the claim and its settling finds a number that is not settled, and leaves the run alone. A
  winner that dies there has taken nothing up; claiming again, it gets the same number.
- Whoever looks after the settling finds a run that is not over.
- A read need not be one snapshot: tags that are older than the claims make n + 1 a number that is not settled, or that
  somebody has.
"""

from dataclasses import dataclass

from mlflow import entities
from mlflow.exceptions import MlflowException

from cnnviz.errors import StoreError
from cnnviz.store import addresses, connection, failures, installation

_CLAIM = "cnnviz.owner/"


@dataclass(frozen=True)
class Owner:
    installation: str  # its id; "": nobody's, another program's or of a version that had no installations
    claims: int  # the highest number; 0: none, it belongs to who scheduled it
    settled: bool  # False: somebody is about to schedule it

    @property
    def is_here(self) -> bool:
        return addresses.is_embedded() or self.installation == installation.this()

    @property
    def is_nobody(self) -> bool:
        return not self.installation and not addresses.is_embedded()


def of(found: entities.Run) -> Owner:
    params, tags = found.data.params, found.data.tags
    numbers = [int(name.removeprefix(_CLAIM)) for name in params if _is_claim(name)]
    last = max(numbers, default=0)
    whose = params[f"{_CLAIM}{last}"] if last else tags.get("cnnviz.installation", "")
    text = tags.get("cnnviz.claim", "0")
    return Owner(whose, last, text.isdecimal() and int(text) == last)


def _is_claim(name: str) -> bool:
    number = name.removeprefix(_CLAIM)
    return name.startswith(_CLAIM) and number.isascii() and number.isdecimal()


def tags() -> dict[str, object]:
    """What a run of this installation's is tagged with."""
    return {"installation": installation.this(), "host": installation.host()}


def claim(found: entities.Run) -> dict[str, object]:
    """Make a run that is over this installation's; the tags that settle it, to be written with its status.

    Raises StoreError if another machine is faster. found: as it was when it was seen to be over.
    """
    if addresses.is_embedded():
        return {}
    owner, run_id = of(found), found.info.run_id
    if not owner.settled and not owner.is_here:
        raise _taken(found)
    number = owner.claims + 1 if owner.settled else owner.claims
    name = f"{_CLAIM}{number}"
    try:
        connection.client().log_param(run_id, name, installation.this())
    except MlflowException as error:
        if failures.is_unreachable(error):
            raise
        now = connection.client().get_run(run_id)
        if now.data.params.get(name) in (None, installation.this()):
            raise
        raise _taken(now) from error
    return tags() | {"claim": number}


def _taken(found: entities.Run) -> StoreError:
    return StoreError(
        f"{found.info.run_name} ({found.info.run_id[:8]}) is being continued on another machine: wait for its end"
    )
