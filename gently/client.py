"""The device layer over HTTP: all that remote code may use of it, blocking or awaited.

Each call is described once, in `_Calls`; `DeviceLayerClient` blocks, `AsyncDeviceLayerClient`
returns the same value to whoever awaits it. Every call is bounded in time, every answer is
a frozen value of `gently.wire`, and everything that can go wrong is a `ClientError` whose
text names cause and remedy.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from gently.wire import (
    DEFAULT_URL,
    AsyncTransport,
    AuditEntry,
    Awaited,
    Blocking,
    Call,
    ClientError,
    Detection,
    Device,
    DeviceReading,
    Flow,
    Following,
    HistoryItem,
    Item,
    ItemState,
    Lease,
    NotCompleted,
    Opens,
    Plan,
    PlanCall,
    Plans,
    PreflightReport,
    Progress,
    Proposal,
    Queue,
    Request,
    Result,
    ServerSettings,
    Status,
    StopReport,
    Taking,
    Transport,
    Volume,
    change,
    command,
    get,
    granted,
    read,
    surely,
    watch,
    watch_detection,
)

__all__ = ["AsyncDeviceLayerClient", "DeviceLayerClient"]

STOP_S: Final = 15.0
"""Longer than a stop takes with devices that hang, which is when its report matters most."""
PREFLIGHT_S: Final = 30.0
"""A plan of half a million steps is followed to its end."""
DAY_S: Final = 86_400.0
PATIENCE_S: Final = 10.0
"""How long a device layer may take to come back; a restart takes a few seconds."""


class _Calls:
    """What can be asked of a device layer; each as the steps that it takes."""

    # What there is

    @Call
    def status(self) -> Flow[Status]:
        """Return what the plan manager and the RunEngine are doing."""
        return read(Status, (yield from get("status")))

    @Call
    def settings(self) -> Flow[ServerSettings]:
        """Return where the device layer writes, and which instrument it drives."""
        return read(ServerSettings, (yield from get("settings")))

    @Call
    def plans(self) -> Flow[Plans]:
        """Return the plan catalogue: `plans.snap(exposure_ms=5)` is a plan ready to be run."""
        answer = yield from get("plans", "allowed")
        return Plans(read(dict[str, Plan], answer.get("plans_allowed")))

    @Call
    def devices(self) -> Flow[dict[str, Device]]:
        """Return the instrument's devices by name."""
        answer = yield from get("devices", "allowed")
        found = read(dict[str, dict[str, Any]], answer.get("devices_allowed"))
        return {name: read(Device, {"name": name, **entry}) for name, entry in found.items()}

    @Call
    def read_device(self, name: str) -> Flow[DeviceReading]:
        """Return what a device reads back now, with units and age; nothing moves."""
        return read(DeviceReading, (yield from get("devices", name, "read")))

    @Call
    def volumes(self, limit: int | None = None) -> Flow[list[Volume]]:
        """Return the published volumes, newest first."""
        return read(list[Volume], (yield from get("volumes", limit=limit)).get("volumes"))

    @Call
    def volume(self, uid: str) -> Flow[Volume]:
        """Return all that is known of one published volume, except its pixels."""
        return read(Volume, (yield from get("volumes", uid)))

    # Plans

    @Call
    def run(
        self,
        plan: PlanCall,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        timeout_s: float = DAY_S,
        patience_s: float = PATIENCE_S,
    ) -> Flow[Result]:
        """Run a plan now, wait for its end and return what it returned.

        Interrupted or out of time, it leaves the plan running; parameters as for `wait`.

        Raises
        ------
        NotCompleted
            If it failed or was ended early.
        """
        item = yield from _submit("queue/item/execute", plan, patience_s)
        state = yield from watch(
            item.item_uid, on_progress, timeout_s=timeout_s, patience_s=patience_s
        )
        if state.state != "completed" or state.result is None:
            raise NotCompleted(state)
        return state.result

    @Call
    def execute(self, plan: PlanCall, *, patience_s: float = PATIENCE_S) -> Flow[Item]:
        """Run a plan now; returns as soon as it is accepted, with its `item_uid`.

        Each submission has a key of its own, so that asking again for an answer that got
        lost cannot run the plan twice.

        Parameters
        ----------
        plan : PlanCall
            The plan with its arguments.
        patience_s : float
            How long to ask again when the answer got lost on the way.
        """
        return (yield from _submit("queue/item/execute", plan, patience_s))

    @Call
    def enqueue(self, plan: PlanCall, *, patience_s: float = PATIENCE_S) -> Flow[Item]:
        """Append a plan to the queue, which `start_queue` sets going; else as `execute`."""
        return (yield from _submit("queue/item/add", plan, patience_s))

    @Call
    def start_queue(self) -> Flow[None]:
        """Run the queued plans, one after the other."""
        yield from command("queue", "start")

    @Call
    def queue(self) -> Flow[Queue]:
        """Return the plans that wait, and the one that runs."""
        answer = yield from get("queue", "get")
        # The dialect says "nothing runs" with an empty object.
        return read(Queue, {**answer, "running_item": answer.get("running_item") or None})

    @Call
    def history(self) -> Flow[list[HistoryItem]]:
        """Return the plans that have ended, oldest first."""
        return read(list[HistoryItem], (yield from get("history", "get")).get("items"))

    @Call
    def item(self, item_uid: str) -> Flow[ItemState]:
        """Return where one request stands."""
        return read(ItemState, (yield from get("items", item_uid)))

    @Call
    def wait(
        self,
        item_uid: str,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        timeout_s: float = DAY_S,
        patience_s: float = PATIENCE_S,
    ) -> Flow[ItemState]:
        """Wait until a request has ended and return how.

        It asks, instead of listening: a lost event cannot make it wait for ever, and neither
        can a device layer that dies, or comes back within `patience_s`.

        Parameters
        ----------
        item_uid : str
            What `execute` or `enqueue` returned.
        on_progress : callable, optional
            Called in this thread with each `Progress` that differs from the one before.
        timeout_s : float
            How long the plan may take before `StillRunning`; it goes on all the same.
        patience_s : float
            How long the device layer may be away before `DeviceLayerUnreachable`.
        """
        return (yield from watch(item_uid, on_progress, timeout_s=timeout_s, patience_s=patience_s))

    @Call
    def log(self, item_uid: str) -> Flow[list[str]]:
        """Return what the device layer has logged about a request, oldest line first."""
        return read(list[str], (yield from get("items", item_uid, "log")).get("lines"))

    @Call
    def audit(self, limit: int = 100) -> Flow[list[AuditEntry]]:
        """Return who made the device layer do what, newest first; for an admin's key."""
        return read(list[AuditEntry], (yield from get("audit", limit=limit)).get("entries"))

    # Embryos

    @Call
    def detect(
        self,
        uid: str,
        detector: str = "classical",
        *,
        plane: int | None = None,
        projection: str = "max",
        settings: Mapping[str, Any] | None = None,
        timeout_s: float = 120.0,
    ) -> Flow[Detection]:
        """Find embryos in a volume, and wait until that has ended.

        That nothing could be found out is no exception: `state` and `error` say so.

        Parameters
        ----------
        uid : str
            Of the volume.
        detector : str
            Who looks: "classical" or "sam".
        plane : int, optional
            Which slice; without it, the projection of all.
        projection : str
            "max" or "mean".
        settings : mapping, optional
            For the detector, such as `{"length_um": 50}`.
        timeout_s : float
            After which it fails.
        """
        answer = yield from change(
            "detections",
            uid=uid,
            detector=detector,
            plane=plane,
            projection=projection,
            settings=settings or {},
            timeout_s=timeout_s,
        )
        return (yield from watch_detection(read(Detection, answer)))

    @Call
    def detection(self, detection_uid: str) -> Flow[Detection]:
        """Return a detection, and what was found."""
        return read(Detection, (yield from get("detections", detection_uid)))

    @Call
    def detections(
        self, *, source: str | None = None, session: str | None = None, limit: int | None = None
    ) -> Flow[list[Detection]]:
        """Return the newest detections first, of one volume or one session."""
        answer = yield from get("detections", source=source, session=session, limit=limit)
        return read(list[Detection], answer.get("detections"))

    # What is known before anything moves

    @Call
    def preflight(self, plan: PlanCall) -> Flow[PreflightReport]:
        """Return what a plan would do from where the microscope is now; nothing moves.

        That it would be refused is no exception: the report says so, and names every reason.
        """
        answer = yield Request(
            method="POST",
            path="plans/preflight",
            body={"item": plan.item()},
            timeout_s=PREFLIGHT_S,
        )
        return read(PreflightReport, answer)

    @Call
    def propose(
        self,
        plan: PlanCall,
        note: str = "",
        *,
        ttl_s: float = 3600.0,
        patience_s: float = PATIENCE_S,
    ) -> Flow[Proposal]:
        """Ask a person to approve a plan; all that a key with the scope "propose" may do.

        Parameters
        ----------
        plan : PlanCall
            The plan with its arguments.
        note : str
            Why, for who decides.
        ttl_s : float
            For how long it can be approved.
        patience_s : float
            How long to ask again when the answer got lost on the way; it is proposed once.
        """
        request = Request(
            method="POST",
            path="proposals",
            body={"item": plan.item(), "note": note or None, "ttl_s": ttl_s},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )
        return read(Proposal, granted((yield from surely(request, patience_s))))

    @Call
    def proposals(self, *, waiting: bool = True) -> Flow[list[Proposal]]:
        """Return what waits for approval, newest first; or all that was ever proposed."""
        answer = yield from get("proposals", state="proposed" if waiting else None)
        return read(list[Proposal], answer.get("proposals"))

    @Call
    def proposal(self, proposal_uid: str) -> Flow[Proposal]:
        """Return a proposal, and what became of it."""
        return read(Proposal, (yield from get("proposals", proposal_uid)))

    @Call
    def approve(self, proposal: Proposal, *, execute: bool = False) -> Flow[Proposal]:
        """Have exactly what this proposal says queued, or with `execute` run now.

        It is approved as it is here: if it says something else to the device layer, it is
        refused.
        """
        answer = yield from command(
            "proposals",
            proposal.proposal_uid,
            "approve",
            digest=proposal.digest,
            execute=execute,
        )
        return read(Proposal, answer)

    @Call
    def reject(self, proposal_uid: str, reason: str = "") -> Flow[Proposal]:
        """Say no to a proposal."""
        answer = yield from change("proposals", proposal_uid, "reject", reason=reason)
        return read(Proposal, answer)

    # Control

    @Call
    def stop(self, reason: str = "", *, patience_s: float = 2.0) -> Flow[StopReport]:
        """Stop every motion, turn the light off and end the plan.

        A device that did not stop is no exception: it is named in the report, whose
        `success` is then false.

        Parameters
        ----------
        reason : str
            Why, for the records.
        patience_s : float
            How long to ask again when the connection broke; a stop may be asked for twice.
        """
        request = Request(
            method="POST",
            path="stop",
            body={"reason": reason} if reason else {},
            timeout_s=STOP_S,
        )
        return read(StopReport, (yield from surely(request, patience_s)))

    @Call
    def pause(self) -> Flow[None]:
        """Pause the running plan at its next checkpoint."""
        yield from command("re", "pause", option="deferred")

    @Call
    def resume(self) -> Flow[None]:
        """Go on with the paused plan."""
        yield from command("re", "resume")

    @Call
    def abort(self) -> Flow[None]:
        """End the paused plan as aborted."""
        yield from command("re", "abort")

    @Call
    def lease(self) -> Flow[Lease]:
        """Return who has control of the microscope."""
        return read(Lease, (yield from get("control")))

    @Opens
    def control(self, note: str = "", *, ttl_s: float = 30.0, take_over: bool = False) -> Taking:
        """Have the microscope for oneself: `with client.control():` keeps others from moving it.

        It is renewed in the background, and given back at the end. If it is lost (somebody
        has taken over, or the device layer was away for too long), whatever would command
        the microscope raises `ControlLost`; `stop` works all the same, as it does for
        everybody.

        Parameters
        ----------
        note : str
            What for, told to those who are kept waiting.
        ttl_s : float
            For how long it is held without being renewed, should this program die; 1 to 3600.
        take_over : bool
            Take it from the one who has it: a person from an agent, an admin from anybody.

        Raises
        ------
        Refused
            On entering, if somebody has it from whom it is not taken; names them.
        """
        return Taking(note=note, ttl_s=ttl_s, take_over=take_over)

    # Events

    @Opens
    def events(
        self,
        after: int | None = None,
        kinds: Iterable[str] = (),
        *,
        on_connect: Callable[[], None] | None = None,
        on_lost: Callable[[ClientError], None] | None = None,
        timeout_s: float = DAY_S,
        patience_s: float = DAY_S,
    ) -> Following:
        """Follow what happens in the device layer.

        Parameters
        ----------
        after : int, optional
            Sequence number of the last event already known: later ones are replayed, also
            those of before a restart of this program. Without it, the stream begins now.
        kinds : iterable of str
            Kinds wanted; none means all.
        on_connect, on_lost : callable, optional
            Called by the reader each time the connection is there, or gone. The place to
            read anew what an interruption may have hidden.
        timeout_s : float
            How long the next event may take before the iteration raises `QuietTooLong`;
            iterating again goes on. Beyond 15 s, it is noticed 15 s late at most.
        patience_s : float
            How long the device layer may be away before the iteration raises why.
        """
        return Following(
            after=after,
            kinds=tuple(kinds),
            on_connect=on_connect,
            on_lost=on_lost,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )


class DeviceLayerClient(_Calls, Blocking):
    """One device layer, as seen through its HTTP interface; every call blocks.

    Every call may raise `DeviceLayerUnreachable`, `DeviceLayerFault` or `Refused`. A client
    may be used from several threads. It is a context manager; close its event streams
    before it.

    Parameters
    ----------
    url : str
        Address of the device layer, without `/api`.
    timeout_s : float
        How long one request may take. None but `stop` and `read_device` waits for the
        hardware, so a few seconds are plenty; `stop` has a longer time of its own.
    api_key : str, optional
        The key to come with; without it, that of this user on this machine: what
        `GENTLY_API_KEY` says, or the file that the device layer has made
        (`gently.local_key`).

    Raises
    ------
    ValueError
        If `url` is no http address.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout_s: float = 5.0, api_key: str | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._api_key = api_key
        self.transport = Transport(url, timeout_s, api_key)

    @property
    def url(self) -> str:
        """Address of the device layer."""
        return self.transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; an event stream has its own `close`, to be called first."""
        self.transport.close()

    def awaitable(self) -> "AsyncDeviceLayerClient":
        """Return a client of the same device layer for coroutines; without this one's control."""
        return AsyncDeviceLayerClient(self.url, timeout_s=self._timeout_s, api_key=self._api_key)


class AsyncDeviceLayerClient(_Calls, Awaited):
    """As `DeviceLayerClient`, for asyncio: the same calls with the same parameters, awaited.

    It belongs to the event loop in which it is first used.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout_s: float = 5.0, api_key: str | None = None
    ) -> None:
        self.transport = AsyncTransport(url, timeout_s, api_key)

    @property
    def url(self) -> str:
        """Address of the device layer."""
        return self.transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; an event stream has its own `close`, to be called first."""
        await self.transport.close()


def _submit(path: str, plan: PlanCall, patience_s: float) -> Flow[Item]:
    request = Request(
        method="POST",
        path=path,
        body={"item": plan.item()},
        headers={"Idempotency-Key": uuid.uuid4().hex},
        commands=True,
    )
    return read(Item, granted((yield from surely(request, patience_s))).get("item"))
