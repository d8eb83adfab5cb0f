"""The status, as Bluesky's clients read it, and its uid, which tells whether it has changed."""

import time
from hashlib import blake2b
from typing import Any

from pydantic_core import to_json

from gently.core.device_layer import DeviceLayer
from gently.core.transitions import QueueState

__all__ = ["status"]


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
