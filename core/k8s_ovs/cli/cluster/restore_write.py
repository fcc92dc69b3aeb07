"""A restore's changes as transactions of etcd, each only if nobody else has written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8s_ovs.cli.cluster.backup_document import CONFIG_PATH, as_stored
from k8s_ovs.cli.cluster.restore_plan import Plan
from k8s_ovs.cli.cluster.stored_records import StoredRecords, stored_records
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.node_status import NOT_RECORDS
from k8s_ovs.observe.etcd.client import (
    Absent,
    Compare,
    Delete,
    Etcd,
    NoneSince,
    Put,
    Unchanged,
    key_ranges,
)
from k8s_ovs.plugin.command.output import few

__all__ = ["write_plan"]

Step = Put | Delete

#: etcd takes 128 operations and 128 compares in a transaction (--max-txn-ops); with each operation
#: comes a compare, and some more with each transaction.
_MOST_STEPS = 100
#: etcd takes 1.5 MiB in a request (--max-request-bytes).
_MOST_BYTES = 1 << 20


def write_plan(etcd: Etcd, stored: StoredRecords, plan: Plan) -> None:
    """Delete, then write, the configuration last and by itself.

    Raises K8sOvsError that names what somebody else wrote or deleted since `stored`, or says why
    etcd failed; what was written before stays, and a second run does the rest.
    """
    steps = _steps(stored.prefix, plan)
    revision, done = stored.revision, 0
    for batch in _batches(steps, f"{stored.prefix}/{CONFIG_PATH}"):
        try:
            result = etcd.txn(_compares(stored, batch, revision), batch)
            if not result.succeeded:
                raise K8sOvsError(_told(etcd, stored, batch, revision))
        except K8sOvsError as error:
            raise K8sOvsError(
                f"{error}; {done} of {len(steps)} changes are written: run the command again"
            ) from error
        revision = result.revision
        done += len(batch)


def _steps(prefix: str, plan: Plan) -> list[Step]:
    # What is deleted may be in the way of what is written.
    deletions = [Delete(f"{prefix}/{path}") for path in plan.delete]
    writes = [Put(f"{prefix}/{path}", as_stored(value)) for path, value in plan.writes.items()]
    return [*deletions, *writes]


def _batches(steps: Sequence[Step], alone: str) -> Iterator[list[Step]]:
    """The steps in order, as many at once as etcd takes; the key `alone` by itself."""
    batch: list[Step] = []
    size = 0
    for step in steps:
        bytes_of_step = len(step.value) if isinstance(step, Put) else 0
        full = len(batch) == _MOST_STEPS or size + bytes_of_step > _MOST_BYTES
        if batch and (full or step.key == alone):
            yield batch
            batch, size = [], 0
        batch.append(step)
        size += bytes_of_step
    if batch:
        yield batch


def _compares(stored: StoredRecords, batch: Sequence[Step], revision: int) -> list[Compare]:
    """Each record is as it was, the configuration too, and no record was written by somebody else,
    which one of ours might contradict. revision: of our last write."""
    prefix, base = stored.prefix, f"{stored.prefix}/{stored.network}"
    config = f"{prefix}/{CONFIG_PATH}"
    left_out = (f"{base}/{name}" for name in NOT_RECORDS)
    ranges = key_ranges(f"{base}/", left_out)
    keys = dict.fromkeys([config, *(step.key for step in batch)])
    return [
        *(_as_it_was(stored, key) for key in keys),
        *(NoneSince(each, revision) for each in ranges),
    ]


def _as_it_was(stored: StoredRecords, key: str) -> Compare:
    found = stored.records.get(key.removeprefix(f"{stored.prefix}/"))
    return Unchanged(key, found.mod_revision) if found else Absent(key)


def _told(etcd: Etcd, stored: StoredRecords, batch: Sequence[Step], revision: int) -> str:
    """What somebody else has done since `revision`."""
    now = stored_records(etcd, stored.prefix, stored.network).records
    written = [path for path, each in now.items() if each.mod_revision > revision]
    ours = [step.key.removeprefix(f"{stored.prefix}/") for step in batch]
    deleted = [path for path in (CONFIG_PATH, *ours) if path in stored.records and path not in now]
    names = few(list(dict.fromkeys([*written, *deleted]))) if written or deleted else "a key"
    return f"{names} below {stored.prefix} was changed by somebody else in the meantime"
