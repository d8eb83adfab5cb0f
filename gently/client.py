"""The device layer over HTTP: all that remote code may use of it.

`DeviceLayerClient` speaks the Bluesky HTTP dialect and our own routes beside it. Every
call is bounded in time, every answer is a frozen value of `gently.wire`, and
everything that can go wrong is a `ClientError` whose text names cause and remedy.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from pydantic import JsonValue

from gently.wire import (
    DEFAULT_URL,
    ClientError,
    Device,
    DeviceLayerFault,
    DeviceLayerUnreachable,
    DeviceReading,
    Event,
    EventStream,
    FieldError,
    HistoryItem,
    Item,
    ItemState,
    Plan,
    Progress,
    Queue,
    Reading,
    Refused,
    Reply,
    Result,
    ServerSettings,
    Status,
    StoppedDevice,
    StopReport,
    Transport,
    Volume,
    read,
)

__all__ = [
    "DEFAULT_URL",
    "ClientError",
    "Device",
    "DeviceLayerClient",
    "DeviceLayerFault",
    "DeviceLayerUnreachable",
    "DeviceReading",
    "Event",
    "EventStream",
    "FieldError",
    "HistoryItem",
    "Item",
    "ItemState",
    "Plan",
    "Progress",
    "Queue",
    "Reading",
    "Refused",
    "Reply",
    "Result",
    "ServerSettings",
    "Status",
    "StopReport",
    "StoppedDevice",
    "Volume",
]

FIRST_POLL_S: Final = 0.01
LAST_POLL_S: Final = 0.25
STOP_S: Final = 15.0
"""Longer than a stop takes with devices that hang, which is when its report matters most."""


class DeviceLayerClient:
    """One device layer, as seen through its HTTP interface.

    Every method may raise `DeviceLayerUnreachable`, `DeviceLayerFault` or `Refused`.
    A client may be used from several threads. It is a context manager; close its event
    streams before it.

    Parameters
    ----------
    url : str
        Address of the device layer, without `/api`.
    timeout_s : float
        How long one request may take. None but `stop` and `read_device` waits for the
        hardware, so a few seconds are plenty; `stop` has a longer time of its own.

    api_key : str, optional
        The key to come with; without it, the one of this machine (`gently.local_key`).

    Raises
    ------
    ValueError
        If `url` is no http address.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout_s: float = 5.0, api_key: str | None = None
    ) -> None:
        self._transport = Transport(url, timeout_s, api_key)

    @property
    def url(self) -> str:
        """Address of the device layer."""
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; an event stream has its own `close`, to be called first."""
        self._transport.close()

    # What there is

    def status(self) -> Status:
        """Return what the plan manager and the RunEngine are doing."""
        return read(Status, self._get("status"))

    def settings(self) -> ServerSettings:
        """Return where the device layer writes, and which instrument it drives."""
        return read(ServerSettings, self._get("settings"))

    def plans(self) -> dict[str, Plan]:
        """Return the plan catalogue by name, each entry with the schema of its arguments."""
        return read(dict[str, Plan], self._get("plans/allowed").get("plans_allowed"))

    def devices(self) -> dict[str, Device]:
        """Return the instrument's devices by name."""
        reply = read(dict[str, dict[str, Any]], self._get("devices/allowed")["devices_allowed"])
        return {name: read(Device, {"name": name, **entry}) for name, entry in reply.items()}

    def read_device(self, name: str) -> DeviceReading:
        """Return what a device reads back now, with units and age; nothing moves."""
        return read(DeviceReading, self._get(f"devices/{quote(name, safe='')}/read"))

    def volumes(self, limit: int | None = None) -> list[Volume]:
        """Return the published volumes, newest first."""
        query = {} if limit is None else {"limit": limit}
        return read(list[Volume], self._get("volumes", query).get("volumes"))

    def volume(self, uid: str) -> Volume:
        """Return all that is known of one published volume, except its pixels."""
        return read(Volume, self._get(f"volumes/{quote(uid, safe='')}"))

    # Plans

    def execute(
        self, name: str, meta: Mapping[str, JsonValue] | None = None, /, **kwargs: JsonValue
    ) -> Item:
        """Run a plan now; returns as soon as it is accepted, with its `item_uid`.

        Parameters
        ----------
        name : str
            The plan.
        meta : mapping, optional
            What its documents shall say besides, such as a `session_id`, which its files
            carry too.
        **kwargs
            The plan's arguments.
        """
        return self._submit("queue/item/execute", name, meta, kwargs)

    def enqueue(
        self, name: str, meta: Mapping[str, JsonValue] | None = None, /, **kwargs: JsonValue
    ) -> Item:
        """Append a plan to the queue, which `start_queue` sets going; else as `execute`."""
        return self._submit("queue/item/add", name, meta, kwargs)

    def start_queue(self) -> None:
        """Run the queued plans, one after the other."""
        self._post("queue/start")

    def queue(self) -> Queue:
        """Return the plans that wait, and the one that runs."""
        reply = self._get("queue/get")
        # The dialect says "nothing runs" with an empty object.
        return read(Queue, {**reply, "running_item": reply.get("running_item") or None})

    def history(self) -> list[HistoryItem]:
        """Return the plans that have ended, oldest first."""
        return read(list[HistoryItem], self._get("history/get").get("items"))

    def item(self, item_uid: str) -> ItemState:
        """Return where one request stands."""
        return read(ItemState, self._get(f"items/{quote(item_uid, safe='')}"))

    def wait(
        self,
        item_uid: str,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        patience_s: float = 10.0,
    ) -> ItemState:
        """Block until a request has ended and return how.

        The item is asked for at intervals of a tenth of the time waited so far, at most
        a quarter of a second: a short plan is answered at once and a long one costs the
        device layer four small requests a second. Neither a lost event nor a device
        layer that comes back within `patience_s` can make this wait for ever.

        Parameters
        ----------
        item_uid : str
            What `execute` or `enqueue` returned.
        on_progress : callable, optional
            Called in this thread with each `Progress` that differs from the one before.
        patience_s : float
            How long the device layer may be away before `DeviceLayerUnreachable`.
        """
        begun = heard = time.monotonic()
        shown: Progress | None = None
        while True:
            try:
                state = self.item(item_uid)
            except DeviceLayerUnreachable:
                if time.monotonic() - heard > patience_s:
                    raise
            else:
                heard = time.monotonic()
                if state.finished:
                    return state
                if state.progress not in (None, shown) and on_progress is not None:
                    shown = state.progress
                    on_progress(shown)
            waited = time.monotonic() - begun
            time.sleep(min(max(waited / 10, FIRST_POLL_S), LAST_POLL_S))

    # Control

    def stop(self) -> StopReport:
        """Stop every motion, turn the light off and end the plan.

        A device that did not stop is no exception: it is named in the report, whose
        `success` is then false.
        """
        return read(StopReport, self._transport.request("POST", "stop", body={}, timeout_s=STOP_S))

    def pause(self) -> None:
        """Pause the running plan at its next checkpoint."""
        self._post("re/pause", {"option": "deferred"})

    def resume(self) -> None:
        """Go on with the paused plan."""
        self._post("re/resume")

    def abort(self) -> None:
        """End the paused plan as aborted."""
        self._post("re/abort")

    # Events

    def events(
        self,
        after: int | None = None,
        kinds: Iterable[str] = (),
        *,
        on_connect: Callable[[], None] | None = None,
        on_lost: Callable[[ClientError], None] | None = None,
        patience_s: float | None = None,
    ) -> EventStream:
        """Follow what happens in the device layer.

        Parameters
        ----------
        after : int, optional
            Sequence number of the last event already known: later ones are replayed.
            Without it, the stream begins now.
        kinds : iterable of str
            Kinds wanted; none means all.
        on_connect, on_lost : callable, optional
            Called in the reading thread each time the connection is there, or gone.
            The place to read anew what an interruption may have hidden.
        patience_s : float, optional
            How long the device layer may be away before the iteration raises why;
            without it the stream reconnects until it is closed.
        """
        return EventStream(
            self._transport,
            after=after,
            kinds=kinds,
            on_connect=on_connect,
            on_lost=on_lost,
            patience_s=patience_s,
        )

    # Transport

    def _submit(
        self,
        path: str,
        name: str,
        meta: Mapping[str, JsonValue] | None,
        kwargs: Mapping[str, JsonValue],
    ) -> Item:
        item = {"item_type": "plan", "name": name, "kwargs": kwargs}
        if meta:
            item["meta"] = meta
        return read(Item, self._post(path, {"item": item}).get("item"))

    def _get(self, path: str, query: Mapping[str, int] | None = None) -> dict[str, Any]:
        return _granted(self._transport.request("GET", path, query=query))

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _granted(self._transport.request("POST", path, body=body or {}))


def _granted(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the reply, unless it refuses in the Bluesky routes' way: with HTTP 200."""
    if reply.get("success") is False:
        errors = read(list[FieldError], reply.get("errors") or [])
        raise Refused(str(reply.get("msg") or "no reason given"), errors)
    return reply
