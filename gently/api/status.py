"""The status, as Bluesky's clients read it, and its uid, which tells whether it has changed."""

import time
from hashlib import blake2b
from typing import Any, Literal

from pydantic import Field
from pydantic_core import to_json

from gently.api.models import Answer, Done
from gently.core.device_layer import DeviceLayer
from gently.core.transitions import QueueState

__all__ = ["StatusAnswer", "status"]


class QueueModeAnswer(Answer):
    """How the queue runs."""

    loop: bool
    ignore_failures: bool


class LockedParts(Answer):
    """What is locked."""

    environment: bool
    queue: bool


class StatusAnswer(Done):
    """What a client polls; each ``…_uid`` changes when what it stands for does."""

    msg: str = Field(description="The version of gently.")
    manager_state: Literal["idle", "starting_queue", "executing_queue", "paused"]
    items_in_queue: int
    items_in_history: int
    running_item_uid: str | None
    queue_stop_pending: bool = Field(description="The queue stops after this item.")
    queue_autostart_enabled: bool
    worker_environment_exists: Literal[True]
    worker_environment_state: Literal["idle", "executing_plan"]
    worker_background_tasks: Literal[0]
    re_state: str = Field(description="The RunEngine's, in its own words.")
    ip_kernel_state: None
    ip_kernel_captured: None
    pause_pending: bool
    run_list_uid: str
    plan_queue_uid: str
    plan_history_uid: str
    devices_existing_uid: str
    plans_existing_uid: str
    devices_allowed_uid: str
    plans_allowed_uid: str
    task_results_uid: str
    lock_info_uid: str
    plan_queue_mode: QueueModeAnswer
    lock: LockedParts
    time: float = Field(description="Seconds since 1970.")
    status_uid: str = Field(description="Changes when anything here does but the time.")


def status(layer: DeviceLayer) -> dict[str, Any]:
    """Return everything that a client polls; ``status_uid`` is that of all of it but the time."""
    found = _status(layer)
    digest = blake2b(to_json(found), digest_size=16)
    return {**found, "time": time.time(), "status_uid": digest.hexdigest()}


def _status(layer: DeviceLayer) -> dict[str, Any]:
    queue = layer.queue.snapshot()
    state = layer.runner.state
    return {
        "msg": f"gently {layer.version}",
        "manager_state": _manager_state(queue, state),
        "items_in_queue": len(queue.waiting),
        "items_in_history": len(queue.history),
        "running_item_uid": queue.running.item_uid if queue.running else None,
        "queue_stop_pending": queue.stop_pending,
        "queue_autostart_enabled": queue.autostart,
        "worker_environment_exists": True,
        "worker_environment_state": "executing_plan" if queue.running else "idle",
        "worker_background_tasks": 0,
        "re_state": state,
        "ip_kernel_state": None,
        "ip_kernel_captured": None,
        "pause_pending": layer.runner.pause_pending,
        "run_list_uid": layer.runner.runs.snapshot()[1],
        "plan_queue_uid": queue.plan_queue_uid,
        "plan_history_uid": queue.plan_history_uid,
        "devices_existing_uid": layer.catalogue_uid,
        "plans_existing_uid": layer.catalogue_uid,
        "devices_allowed_uid": layer.catalogue_uid,
        "plans_allowed_uid": layer.catalogue_uid,
        "task_results_uid": layer.tasks.uid,
        "lock_info_uid": layer.lock.uid,
        "plan_queue_mode": {
            "loop": queue.plan_queue_mode.loop,
            "ignore_failures": queue.plan_queue_mode.ignore_failures,
        },
        "lock": {
            "environment": layer.lock.is_locked("environment"),
            "queue": layer.lock.is_locked("queue"),
        },
    }


def _manager_state(queue: QueueState, engine_state: str) -> str:
    if queue.mode == "idle":
        return "idle"
    if engine_state == "paused":
        return "paused"
    return "executing_queue" if queue.running else "starting_queue"
