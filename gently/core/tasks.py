"""Tasks: what Bluesky's clients start and ask about later by a uid."""

import time
from collections import OrderedDict
from typing import Any
from uuid import uuid4

__all__ = ["TaskList"]

_KEPT = 1_000


class TaskList:
    """The tasks that have been done, the last thousand.

    Every task that there is here is done at once, so none is ever found running. Not
    thread-safe: for the thread of the HTTP edge.
    """

    def __init__(self) -> None:
        self._results: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.uid = uuid4().hex

    def complete(self, return_value: Any, time_start: float) -> str:
        """Take note of a task that is done; return its uid."""
        task_uid = uuid4().hex
        self._results[task_uid] = {
            "task_uid": task_uid,
            "success": True,
            "msg": "",
            "return_value": return_value,
            "time_start": time_start,
            "time_stop": time.time(),
        }
        while len(self._results) > _KEPT:
            self._results.popitem(last=False)
        self.uid = uuid4().hex
        return task_uid

    def status(self, task_uid: str) -> str:
        """Return ``"completed"`` or ``"not_found"``."""
        return "completed" if task_uid in self._results else "not_found"

    def result(self, task_uid: str) -> dict[str, Any]:
        """Return what became of a task; empty if there is no such task."""
        return self._results.get(task_uid, {})
