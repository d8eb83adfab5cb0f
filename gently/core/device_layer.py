"""The device layer: it alone builds the parts and introduces them to each other.

What the HTTP edge calls is here. Nothing here waits for the RunEngine.
"""

import logging
import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from devices import (
    DeviceError,
    DoseBudget,
    Finder,
    FrameSink,
    HardwareDevice,
    Instrument,
    PlannedVolume,
    load_instrument_file,
)
from gently import __version__, local_key
from gently.core.access import Access, AccessDatabase, Principal, Proposal
from gently.core.aftermath import Aftermath
from gently.core.answers import StoreAnswers
from gently.core.calibrations import Calibrations
from gently.core.catalogue import BoundPlan, Catalogue
from gently.core.console import Console
from gently.core.detections import Detections
from gently.core.dose import DoseLedger
from gently.core.errors import (
    DeviceNotFoundError,
    FieldError,
    ItemNotFoundError,
    PlanRefusedError,
    WrongStateError,
)
from gently.core.events import EventLog
from gently.core.items import QUEUE_STOP, Item
from gently.core.lifecycle import ENDED
from gently.core.lock import ControlLock
from gently.core.operations import (
    Action,
    AuditLog,
    ItemStamp,
    LogFile,
    Metrics,
    about_item,
)
from gently.core.oversight import Oversight
from gently.core.preflight import Preflight, PreflightReport, PreflightSummary
from gently.core.provenance import Provenance
from gently.core.queue import PlanQueue
from gently.core.queue_store import QueueStore
from gently.core.runner import Runner
from gently.core.searches import Searches
from gently.core.sink import Sink
from gently.core.stop import StopReport, stop_everything, stop_for_good
from gently.core.tasks import TaskList
from gently.core.transitions import Place
from gently.detection import KINDS, SamSetup
from gently.detector_child import Limits, Supervisor
from gently.settings import DeviceLayerSettings
from plans import ALL_PLANS
from storage import (
    DocumentStore,
    StoreLock,
    VolumeRecord,
    VolumeStore,
)

__all__ = ["Accepted", "DeviceLayer"]

LOGGER = logging.getLogger(__name__)
_PLAN_END_S = 5.0


@dataclass(frozen=True)
class Accepted:
    """What there is to say of an item that was accepted.

    Parameters
    ----------
    qsize
        How many items then waited.
    preflight
        What its plan would do, as far as it was followed; an instruction has none.
    """

    qsize: int
    preflight: PreflightSummary | None


class DeviceLayer:
    """One microscope, one queue, one RunEngine, one store.

    Parameters
    ----------
    settings
        Read once, by the script.

    Raises
    ------
    StoreLockedError
        If another device layer writes into the storage folder; names it.
    LocalKeyError, AccessStoreError
        If there is no key, or the file of keys cannot be used.
    InstrumentError, CatalogueError
        If the instrument file, the hardware or a plan is not as it has to be.
    """

    def __init__(self, settings: DeviceLayerSettings) -> None:
        self.settings = settings
        self.session_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"
        # Plans and devices do not change while the process lives; clients cache them by this.
        self.catalogue_uid = uuid4().hex
        self.events = EventLog()
        self.tasks = TaskList()
        self.console = Console()
        self.metrics = Metrics()
        root = settings.storage.expanduser().resolve()
        with ExitStack() as undo:
            self._open_records(undo, root)
            database = undo.enter_context(closing(AccessDatabase(root / "access.sqlite")))
            api_key = local_key.obtain()
            self.lock = ControlLock(
                database, api_key, lambda info: self.events.publish("lock", lock_info=info)
            )
            self._open_store(undo, root)
            self._open_microscope(undo, root)
            self._open_queue(undo, root)
            self.access = undo.enter_context(
                Access(
                    database,
                    api_key,
                    local_key.owner(),
                    is_queued=self._is_queued,
                    on_lease=lambda lease: self.events.publish("control", lease=lease.message()),
                    on_proposal=lambda one: self.events.publish("proposal", proposal=one.message()),
                )
            )
            self._begin(undo, root)
            self._undo = undo.pop_all()

    def _open_records(self, undo: ExitStack, root: Path) -> None:
        """Take the folder for this process, and begin to write down what happens."""
        undo.enter_context(self.console.attached())
        address = f"http://{self.settings.host}:{self.settings.port}"
        undo.enter_context(StoreLock(root, {"pid": os.getpid(), "address": address}))
        self._log_stamp = ItemStamp()
        self.log = LogFile(root / "logs" / "device-layer.log", self._log_stamp)
        undo.enter_context(self.log.attached())
        self.audit = undo.enter_context(AuditLog(root / "audit.ndjson"))
        self.audit.record(self._of_my_own("start"))
        undo.callback(lambda: self.audit.record(self._of_my_own("end")))

    def _open_store(self, undo: ExitStack, root: Path) -> None:
        """Open what is kept of volumes, their light and their documents."""
        self.store = undo.enter_context(VolumeStore(root))
        self.store.refresh()
        self._dose_budget = DoseBudget(
            self.settings.light_budget_ms, self.settings.energy_budget_mj
        )
        self.doses = undo.enter_context(
            closing(DoseLedger(root / "dose.sqlite", self.store, self._dose_budget))
        )
        self.detections = undo.enter_context(self._detections())
        self.documents = DocumentStore(root)

    def _open_microscope(self, undo: ExitStack, root: Path) -> None:
        """Initialise the hardware, and find out what can be done with it."""
        file = load_instrument_file(self.settings.config)
        self._provenance = Provenance(self.session_id, file.name)
        self.instrument = Instrument(file, open_sink=self._open_sink)
        undo.callback(self.instrument.close)
        finder = Finder(
            "finder",
            core=self.instrument.core,
            detectors=tuple(KINDS),
            search=Searches(self.detections, lambda: self.queue.running),
        )
        self.devices = {**self.instrument.devices, finder.name: finder}
        self.catalogue = Catalogue(ALL_PLANS, self.devices)
        calibrations = Calibrations(root / "calibrations.json", self.instrument.name)
        calibrations.apply(self.instrument.devices)
        self._answers = StoreAnswers(self.store, self.doses, self.detections, calibrations)
        self._preflight = Preflight(self.store, self._answers, self._dose_budget)

    def _open_queue(self, undo: ExitStack, root: Path) -> None:
        """Open the queue as it was left, and account for what ran then."""
        queue_store = QueueStore(root / "queue.sqlite")
        undo.callback(queue_store.close)
        self.queue = PlanQueue(
            self._announce,
            queue_store,
            goes_on=self.settings.queue_after_restart == "continue",
            # Swept as late as this, so that a start that fails takes no trace away.
            account=Aftermath(self.documents, self.store, self.store.sweep()),
            quota=self.settings.quota_per_client,
        )

    def _begin(self, undo: ExitStack, root: Path) -> None:
        """Let plans run, and look after them."""
        keeper = undo.enter_context(self.documents.writer())
        self.runner = Runner(
            self.queue, self.prepare, self.events, self._provenance.run, keeper, self._answers
        )
        undo.callback(self._end_the_plan)
        self.oversight = Oversight(
            root,
            instrument=self.instrument,
            queue=self.queue,
            runner=self.runner,
            detections=self.detections,
            events=self.events,
            metrics=self.metrics,
            audit=self.audit,
            log=self.log,
        )
        undo.callback(self.oversight.close)

    def close(self) -> None:
        """End the plan, stop the stages, put out the light, unload the hardware, free the store."""
        self.events.close()
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def version(self) -> str:
        """The version of gently."""
        return __version__

    # ------------------------------------------------------------------ for the HTTP edge

    def preflight(self, item: Item) -> PreflightReport:
        """Say what an item would do, and what speaks against it; never asks the hardware."""
        try:
            return self._followed(self._bound(item), item)
        except PlanRefusedError as error:
            return PreflightReport.refused(item.name, error.errors, self.store.free_bytes())

    def prepare(self, item: Item) -> BoundPlan:
        """Validate an item that is about to run, and preflight it from where everything is.

        Reads stages whose motion was not seen to arrive, and so blocks for a round trip to
        the controller.

        Raises
        ------
        PlanRefusedError
            With all that speaks against it.
        DeviceError
            If a stage does not say where it is, or a light may still shine that was put out.
        """
        plan = self._bound(item)
        self.instrument.find_stages()
        report = self._followed(plan, item)
        report.raise_refusals()
        if report.light_ms:
            self.instrument.find_lights()
        self._preflight.expect(item.item_uid, report)
        return plan

    def _followed(self, plan: BoundPlan, item: Item) -> PreflightReport:
        return self._preflight.check(plan, embryo=self._provenance.labels(item).embryo)

    def _bound(self, item: Item) -> BoundPlan:
        self._refuse_instructions(item)
        self.access.proposals.check(item)
        if errors := tuple(self._provenance.meta_errors(item)):
            raise PlanRefusedError(item.name, errors)
        return self.catalogue.bind(item.name, item.args, item.kwargs)

    def _refuse_instructions(self, item: Item) -> None:
        if item.item_type != "plan":
            problem = "only plans can be executed; an instruction is for the queue"
            raise PlanRefusedError(item.name, (FieldError("item_type", problem),))

    def check(self, item: Item) -> PreflightSummary | None:
        """Raise `PlanRefusedError` unless an item can be queued; an instruction has no plan.

        Follows the plan for a moment only: before it runs it is followed to its end.
        """
        if item.item_type == "plan":
            return self._preflight.glance(
                self._bound(item), embryo=self._provenance.labels(item).embryo
            )
        if item.name != QUEUE_STOP:
            problem = f"the only instruction is {QUEUE_STOP!r}"
            raise PlanRefusedError(item.name, (FieldError("name", problem),))
        return None

    def add(self, item: Item, place: Place) -> Accepted:
        """Queue an item that would run; raises `PlanRefusedError`."""
        summary = self.check(item)
        return Accepted(self.queue.add(item, place), summary)

    def update(self, item_uid: str, item: Item) -> Accepted:
        """Put an item that would run in the place of one that waits, and was not approved."""
        if self.queue.find(item_uid).approval is not None:
            raise WrongStateError(
                f"{item_uid} was approved as it is, and cannot be changed: remove it, and propose "
                "the other one."
            )
        summary = self.check(item)
        return Accepted(self.queue.update(item_uid, item), summary)

    def execute(self, item: Item) -> Accepted:
        """Run an item now; raises `PlanRefusedError`, or `WrongStateError` if busy."""
        self._refuse_instructions(item)
        summary = self.check(item)
        return Accepted(self.queue.execute(item), summary)

    def propose(
        self, by: Principal, item: Item, *, ttl_s: float, note: str | None, key: str | None = None
    ) -> Proposal:
        """Ask a person to approve an item that would run; raises `PlanRefusedError`.

        A request that comes again with its `key` is answered by what it has proposed before.
        """
        if (before := self.access.proposals.proposed(by, item, key)) is not None:
            return before
        report = self._followed(self._bound(item), item)
        report.raise_refusals()
        found = report.model_dump(mode="json")
        return self.access.proposals.propose(by, item, found, ttl_s=ttl_s, note=note, key=key)

    def stop(self, reason: str) -> StopReport:
        """Stop everything; see `gently.core.stop`. Blocks for up to 7 s."""
        report = stop_everything(self.instrument, self.runner, self.queue, reason)
        self.metrics.stop_seconds.observe(report.seconds)
        LOGGER.warning("stop: %s", reason)  # after it: a log that blocks must not keep it waiting
        self.events.publish("stop", **report.message())
        return report

    def device(self, name: str) -> HardwareDevice:
        """Return a device by its name."""
        try:
            return self.devices[name]
        except KeyError:
            raise DeviceNotFoundError(
                f"there is no device {name!r}; the instrument has: {', '.join(self.devices)}"
            ) from None

    def read_device(self, name: str) -> dict[str, Any]:
        """Read a device now; if it does not answer, say so and give what was read last.

        Blocks for one round trip to the controller, or until its timeout.
        """
        device = self.device(name)
        error: str | None = None
        try:
            readings = device.readback()
        except DeviceError as problem:
            readings, error = device.last_readback(), str(problem)
        now = time.time()
        return {
            "name": name,
            "stale": error is not None,
            "error": error,
            "readings": {
                key: {**reading, "age_s": now - reading["timestamp"]}
                for key, reading in readings.items()
            },
        }

    # ------------------------------------------------------------------ introductions

    def _detections(self) -> Detections:
        said = self.settings
        sam = SamSetup(
            model=said.sam_model,
            checkpoint=said.sam_checkpoint and said.sam_checkpoint.expanduser().resolve(),
            sha256=said.sam_sha256 or "",
            device=said.sam_device,
        )
        supervisor = Supervisor(
            self.store.root,
            {"sam": sam.model_dump(mode="json")},
            limits=Limits(memory_bytes=said.detector_memory_mb * 1_000_000),
        )
        return Detections(
            self.store,
            supervisor,
            self.events.publish,
            session_id=self.session_id,
            metrics=self.metrics,
        )

    def _is_queued(self, item_uid: str) -> bool:
        try:
            self.queue.find(item_uid)
        except ItemNotFoundError:
            return False
        return True

    def _announce(self, kind: str, item: Item) -> None:
        if kind == "item.started":
            self._log_stamp.running = item.item_uid
        elif item.state in ENDED and item.item_uid == self._log_stamp.running:
            self._log_stamp.running = ""
        if item.state in ENDED:
            self.metrics.items.labels(str(item.state)).inc()
        with about_item(item.item_uid):
            LOGGER.info("%s: %s %s", kind, item.name, item.item_uid)
        self.events.publish(
            kind, item_uid=item.item_uid, state=str(item.state), item=item.message()
        )
        self._preflight.see(item)

    def _open_sink(self, planned: PlannedVolume) -> FrameSink:
        spec = self._provenance.volume(planned, self.queue.running)
        with self.doses.beginning(spec):
            writer = self.store.create(spec)
        return Sink(writer, self._published, self.metrics, self.doses)

    def _published(self, record: VolumeRecord) -> None:
        LOGGER.info("published %s (%s)", record.path, record.status)
        self.metrics.volumes.labels(record.status).inc()
        if record.status == "complete":
            self.events.publish("volume.published", **record.metadata())
        else:  # whoever waits for a volume must not take this for it
            self.events.publish("volume.incomplete", **record.metadata())

    def _of_my_own(self, what: str) -> Action:
        me = f"gently {self.version}"
        return Action(
            what=f"device layer: {what}",
            name=me,
            kind="process",
            origin=f"pid {os.getpid()}",
            detail=f"{self.settings.config}, session {self.session_id}",
        )

    def _end_the_plan(self) -> None:
        if not stop_for_good(self.instrument, self.runner, _PLAN_END_S):
            LOGGER.error("the plan did not end; its volume is not published")
