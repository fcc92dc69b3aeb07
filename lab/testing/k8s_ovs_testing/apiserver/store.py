"""Which objects exist, and what happened to them lately?"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from attrs import frozen

from k8s_ovs_testing.apiserver.resource import ApiResource
from k8s_ovs_testing.apiserver.selection import Selection
from k8s_ovs_testing.apiserver.status import Json, StatusError, bad_request, expired, not_found

__all__ = ["Page", "Step", "Store"]

Key = tuple[str, str]  # namespace ("" for what belongs to the cluster), name


@frozen
class Step:
    """One change: `old` None: created, `new` None: deleted. Neither is ever changed again."""

    revision: int
    plural: str
    old: Json | None
    new: Json | None

    def event(self, selection: Selection) -> Json | None:
        """As a watcher of the selection sees it; None if it does not see it at all."""
        before, after = selection.has(self.old), selection.has(self.new)
        if after and self.new is not None:
            return {"type": "MODIFIED" if before else "ADDED", "object": self.new}
        if before and self.old is not None:
            return {"type": "DELETED", "object": _stamped(self.old, self.revision)}
        return None


@frozen
class Page:
    """A part of a list. token: where the next part begins, empty at the end."""

    items: Sequence[Json]
    revision: int
    token: str = ""
    remaining: int = 0


class Store:
    """All objects, in memory, and the last `history` changes. Threads may share one.

    Revisions begin at the clock's microseconds, so those of a server before this one are too old
    here, as they should be: what it held is gone.
    """

    def __init__(self, history: int = 10_000, revision: int | None = None) -> None:
        self.revision = time.time_ns() // 1000 if revision is None else revision
        self._oldest = self.revision
        self._history = history
        self._steps: deque[Step] = deque()
        self._objects: dict[str, dict[Key, Json]] = {}
        self._changed = threading.Condition(threading.RLock())

    def lock(self) -> threading.Condition:
        """Held while several steps must be atomic."""
        return self._changed

    def find(self, resource: ApiResource, key: Key) -> Json | None:
        """The object, None where there is none."""
        with self._changed:
            return self._objects.get(resource.plural, {}).get(key)

    def get(self, resource: ApiResource, key: Key) -> Json:
        """The object; raises StatusError 404."""
        found = self.find(resource, key)
        if found is None:
            raise not_found(resource.plural, key[1])
        return found

    def change(
        self, resource: ApiResource, key: Key, make: Callable[[Json | None], Json | None]
    ) -> Json | None:
        """Put what `make` makes of the object (None: none), if it is another; returns it."""
        with self._changed:
            objects = self._objects.setdefault(resource.plural, {})
            old = objects.get(key)
            new = make(old)
            if new == old:
                return old
            self.revision += 1
            if new is None:
                del objects[key]
            else:
                new = objects[key] = _stamped(new, self.revision)
            self._remember(Step(self.revision, resource.plural, old, new))
            return new

    def page(self, selection: Selection, limit: int = 0, token: str = "") -> Page:
        """At most `limit` objects (0: all) in the order of their keys; raises StatusError 410."""
        with self._changed:
            start, revision = ("", ""), self.revision
            if token:
                revision, start = _position(token)
                self._check(revision)
            objects = self._objects.get(selection.resource.plural, {})
            keys = [k for k in sorted(objects) if k > start and selection.has(objects[k])]
            chosen = keys[:limit] if limit else keys
            remaining = len(keys) - len(chosen)
            following = _token(revision, chosen[-1]) if remaining else ""
            return Page([objects[key] for key in chosen], revision, following, remaining)

    def steps_after(self, revision: int, timeout: float) -> Sequence[Step]:
        """Changes after a revision; waits for the first for `timeout` seconds.

        Raises StatusError 410 when some of them are no longer kept.
        """
        with self._changed:
            self._check(revision)
            self._changed.wait_for(lambda: self.revision > revision, timeout)
            self._check(revision)
            new = min(self.revision - revision, len(self._steps))
            return [self._steps[index] for index in range(len(self._steps) - new, len(self._steps))]

    def _remember(self, step: Step) -> None:
        self._steps.append(step)
        if len(self._steps) > self._history:
            self._oldest = self._steps.popleft().revision
        self._changed.notify_all()

    def _check(self, revision: int) -> None:
        if revision < self._oldest:
            raise expired(revision, self._oldest)
        if revision > self.revision:
            raise StatusError(
                504, "Timeout", f"Too large resource version: {revision}, current: {self.revision}"
            )


def _stamped(document: Json, revision: int) -> Json:
    metadata = {**document["metadata"], "resourceVersion": str(revision)}
    return {**document, "metadata": metadata}


def _token(revision: int, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *key]).encode()).decode()


def _position(token: str) -> tuple[int, Key]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(revision), (str(namespace), str(name))
    except (ValueError, TypeError) as error:
        raise bad_request("continue key is not valid") from error
