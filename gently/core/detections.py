"""Detections: what is asked for, what became of it, and who is who in a session.

A detection that succeeded is its label image in the store, under the same UID: it is read from
there, also after a restart. What waits, runs, failed or was cancelled is in memory.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from pydantic import ValidationError

from gently.analysis import Measure
from gently.core.detection_values import (
    DetectionNotFoundError,
    DetectionRecord,
    DetectionRefusedError,
    DetectionRequest,
    DetectionState,
    DetectorBusyError,
    LookFailedError,
    SharpestFailedError,
)
from gently.core.errors import FieldError, WrongStateError, field_errors
from gently.core.operations import Check, Metrics
from gently.detection import KINDS, DetectorKind
from gently.detector_child import (
    Finding,
    Look,
    LookOrder,
    Order,
    Outcome,
    Sharpest,
    Supervisor,
    SupervisorError,
    SweepOrder,
)
from storage import (
    LABELS,
    StorageError,
    VolumeNotFoundError,
    VolumeRecord,
    VolumeStore,
    labels_tag,
    new_uid,
)

__all__ = ["Detections"]

LOGGER = logging.getLogger(__name__)
_KEPT: Final = 1_000
_NUMBERS_S: Final = 60.0

Place = tuple[float, float]


class Detections:
    """All detections of one device layer. For any thread; a context manager.

    Parameters
    ----------
    store
        Where volumes are read and label images lie.
    supervisor
        Has them carried out; closed with this.
    publish
        Takes the kind of an event and what belongs to it.
    session_id
        Of what belongs to no other session.
    metrics
        Counts what became of them.
    kinds
        Which detectors there are; those of the supervisor.
    """

    def __init__(
        self,
        store: VolumeStore,
        supervisor: Supervisor,
        publish: Callable[..., object],
        *,
        session_id: str,
        metrics: Metrics,
        kinds: Mapping[str, DetectorKind] = KINDS,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._publish = publish
        self._session_id = session_id
        self._outcomes = metrics.detections
        self._kinds = kinds
        self._lock = threading.Lock()
        self._records: OrderedDict[str, DetectionRecord] = OrderedDict()
        # Only the supervisor's thread knows who is who.
        self._known: dict[str, dict[str, Place]] = {}

    def close(self) -> None:
        """End what is under way, and the detectors' process."""
        self._supervisor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def submit(
        self,
        request: DetectionRequest,
        ended: Callable[[DetectionRecord], None] = lambda _: None,
    ) -> DetectionRecord:
        """Have something detected; returns at the cost of a look at the volume's file.

        Parameters
        ----------
        request
            What, where and how.
        ended
            Called once, on another thread, with what became of it; not to wait.

        Raises
        ------
        DetectionRefusedError
            If there is no such detector, or the request does not fit it or the volume.
        DetectorBusyError
            If too many wait.
        StorageError
            If there is no such volume.
        """
        settings = self._checked_settings(request)
        source = self._store.record(request.source_uid)
        self._check_source(source, request)
        session_id = request.session_id or source.session_id or self._session_id
        record = DetectionRecord(
            uid=new_uid(),
            request=replace(request, settings=settings, session_id=session_id),
            time_queued=time.time(),
        )
        self._keep(record)
        self._publish("detection.queued", **record.summary())
        uid = record.uid
        try:
            self._supervisor.submit(
                uid,
                request.timeout_s,
                begin=lambda: self._begin(uid),
                end=lambda outcome: ended(self._end(uid, source, outcome)),
            )
        except SupervisorError as error:
            failed = self._change(uid, state=DetectionState.FAILED, error=str(error))
            self._publish("detection.failed", **failed.summary())
            raise DetectorBusyError(str(error)) from error
        return record

    def sharpest(self, uid: str, measure: Measure) -> Sharpest:
        """Return where the sharpest slice of a sweep lies; blocks until it is found.

        Raises
        ------
        SharpestFailedError
            If it is no sweep, or its pictures could not be looked at; says why.
        """
        order = SweepOrder(uid=new_uid(), source_uid=uid, measure=measure)
        outcome = self._outcome(order)
        if outcome.sharpest is None:
            raise SharpestFailedError(f"the focus of {uid} was not found: {outcome.error}")
        return outcome.sharpest

    def look(self, uid: str) -> Look:
        """Return in numbers what a volume shows; blocks until that is found.

        Raises
        ------
        LookFailedError
            If it could not be looked at; says why.
        """
        outcome = self._outcome(LookOrder(uid=new_uid(), source_uid=uid))
        if outcome.look is None:
            raise LookFailedError(f"volume {uid} was not looked at: {outcome.error}")
        return outcome.look

    def _outcome(self, order: SweepOrder | LookOrder) -> Outcome:
        """Have an order carried out whose answer is no label image; blocks until it is."""
        came: Future[Outcome] = Future()
        try:
            self._supervisor.submit(order.uid, _NUMBERS_S, lambda: order, came.set_result)
        except SupervisorError as error:
            return Outcome(error=str(error))
        return came.result()

    def cancel(self, uid: str) -> DetectionRecord:
        """Give a detection up; returns at once, it ends soon.

        Raises
        ------
        DetectionNotFoundError
            If there is none.
        WrongStateError
            If it has ended.
        """
        record = self.get(uid)
        if record.has_ended:
            raise WrongStateError(f"detection {uid} has ended: it is {record.state}")
        self._supervisor.cancel(uid)
        return record

    def get(self, uid: str) -> DetectionRecord:
        """Return a detection; raises DetectionNotFoundError, or InvalidUidError."""
        with self._lock:
            record = self._records.get(uid)
        if record is not None and record.state is not DetectionState.COMPLETED:
            return record
        try:
            found = DetectionRecord.of(self._store.record(uid))
        except VolumeNotFoundError as error:
            raise DetectionNotFoundError(f"there is no detection {uid}: {error}") from error
        except ValueError as error:
            raise DetectionNotFoundError(f"{uid} is a volume and no detection") from error
        return self._with_times(found)

    def query(
        self, *, source: str | None = None, session: str | None = None, limit: int = 100
    ) -> Sequence[DetectionRecord]:
        """Return the newest detections first, of one volume or one session."""
        with self._lock:
            records = [r for r in self._records.values() if r.state is not DetectionState.COMPLETED]
        unended = [
            record
            for record in records
            if source in (None, record.request.source_uid)
            and session in (None, record.request.session_id)
        ]
        tag = labels_tag(source) if source else LABELS
        completed = [
            self._with_times(DetectionRecord.of(labels))
            for labels in self._store.query(tag=tag, session=session, limit=limit)
            if LABELS in labels.spec.metadata
        ]
        found = [*unended, *completed]
        found.sort(key=lambda each: each.time_stopped or each.time_queued or 0.0, reverse=True)
        return found[:limit]

    def status(self) -> dict[str, Any]:
        """Return how the detectors' process is, and which detectors there are; asks nobody."""
        return {
            **self._supervisor.status(),
            "detectors": [
                {
                    "name": kind.name,
                    "summary": kind.summary,
                    "settings": kind.settings.model_json_schema(),
                    "missing": list(kind.missing),
                    "extra": kind.extra,
                }
                for kind in self._kinds.values()
            ],
        }

    def health(self) -> Check:
        """Whether the detectors' process does its work; that it was not needed yet is well."""
        status = self._supervisor.status()
        if deaths := status["deaths_in_a_row"]:
            detail = f"its process died {deaths} times in a row: {status['last_error']}"
            return Check(ok=False, detail=detail)
        return Check(ok=True, detail=f"its process is {status['state']}")

    # ------------------------------------------------------------------ what is refused

    def _checked_settings(self, request: DetectionRequest) -> dict[str, Any]:
        kind = self._kinds.get(request.detector)
        if kind is None:
            problem = f"there is no {request.detector!r}; choose from: {', '.join(self._kinds)}"
            raise DetectionRefusedError((FieldError("detector", problem),))
        try:
            settings = kind.settings.model_validate(dict(request.settings))
        except ValidationError as error:
            wrong = field_errors(error, kind.settings.model_fields)
            raise DetectionRefusedError(
                tuple(FieldError(f"settings.{each.field}", each.message) for each in wrong)
            ) from error
        return settings.model_dump(mode="json")

    def _check_source(self, source: VolumeRecord, request: DetectionRequest) -> None:
        slices, plane = source.shape[0], request.view.plane
        if plane is not None and plane >= slices:
            problem = f"the volume has the planes 0 to {slices - 1}, not {plane}"
            raise DetectionRefusedError((FieldError("plane", problem),))
        if LABELS in source.spec.tags:
            problem = "this is a label image; name the volume that it is of"
            raise DetectionRefusedError((FieldError("uid", problem),))

    # ------------------------------------------------------------------ the supervisor's thread

    def _begin(self, uid: str) -> Order:
        record = self._change(uid, state=DetectionState.RUNNING, time_started=time.time())
        self._publish("detection.started", **record.summary())
        request = record.request
        return Order(
            uid=uid,
            source_uid=request.source_uid,
            detector=request.detector,
            view=request.view,
            settings=request.settings,
            known=self._known_in(request.session_id),
            session_id=request.session_id,
            item_uid=request.item_uid,
        )

    def _end(self, uid: str, source: VolumeRecord, outcome: Outcome) -> DetectionRecord:
        state, error, labels = DetectionState.COMPLETED, outcome.error, None
        if not error:
            try:
                labels = self._proven(uid, source)
            except (StorageError, ValueError) as problem:
                error = f"what the detector wrote is not what it should be: {problem}"
        if error:
            state = DetectionState.CANCELLED if outcome.is_cancelled else DetectionState.FAILED
            self._put_away(uid, error)
        record = self._change(uid, state=state, error=error, time_stopped=time.time())
        if labels is not None:
            record = self._with_times(DetectionRecord.of(labels))
            self._remember(record)
        self._outcomes.labels(str(state)).inc()
        LOGGER.info("detection %s of %s: %s %s", uid, source.uid, state, error)
        self._publish(f"detection.{state}", **record.summary())
        return record

    def _proven(self, uid: str, source: VolumeRecord) -> VolumeRecord:
        """Reopen a label image, and match it with its table and its source."""
        labels = self._store.verify(uid)
        finding = Finding.model_validate(labels.spec.metadata.get(LABELS))
        if finding.source_uid != source.uid or labels.shape[1:] != source.shape[1:]:
            raise ValueError(f"it is not of volume {source.uid}")
        with self._store.open(uid) as volume:
            drawn = np.flatnonzero(np.bincount(np.ravel(volume.array[0])))
        if {*drawn.tolist()} - {0} != {each.label for each in finding.objects}:
            raise ValueError("its image and its table tell of different objects")
        return labels

    def _put_away(self, uid: str, reason: str) -> None:
        """Let nothing of a detection lie in the store that did not succeed."""
        try:
            self._store.sweep(uid)
            with suppress(VolumeNotFoundError):
                self._store.trash(uid, reason=f"its detection failed: {reason}"[:200], by="gently")
        except (StorageError, OSError) as error:
            LOGGER.warning("what detection %s left stays there: %s", uid, error)

    def _known_in(self, session_id: str) -> dict[str, Place]:
        """Return where each object of a session was seen last."""
        if session_id not in self._known:
            self._known[session_id] = {}
            found = self._store.query(tag=LABELS, session=session_id)
            for labels in reversed(found):
                with suppress(ValueError):
                    self._remember(DetectionRecord.of(labels))
        return self._known[session_id]

    def _remember(self, record: DetectionRecord) -> None:
        if record.finding and record.finding.on_stage:
            known = self._known.setdefault(record.request.session_id, {})
            known |= {each.name: (each.x_um, each.y_um) for each in record.finding.objects}

    # ------------------------------------------------------------------ records

    def _keep(self, record: DetectionRecord) -> None:
        with self._lock:
            self._records[record.uid] = record
            ended = [uid for uid, each in self._records.items() if each.has_ended]
            for uid in ended[: max(0, len(self._records) - _KEPT)]:
                del self._records[uid]

    def _change(self, uid: str, **changes: Any) -> DetectionRecord:
        with self._lock:
            changed = self._records[uid] = replace(self._records[uid], **changes)
        return changed

    def _with_times(self, found: DetectionRecord) -> DetectionRecord:
        """Add to what the file says what is remembered of how it went."""
        with self._lock:
            kept = self._records.get(found.uid)
        if kept is None:
            return found
        return replace(
            found,
            time_queued=kept.time_queued,
            time_started=kept.time_started,
            time_stopped=kept.time_stopped,
        )
