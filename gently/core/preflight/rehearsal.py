"""A rehearsal: the RunEngine's part, played with models of the devices, in their own time."""

import time
from collections.abc import Callable, Hashable
from typing import Any

from bluesky import RunEngine
from bluesky.utils import Msg

from devices import DeviceModel, Dose, HardwareDevice, LightSheetModel, Models
from gently.core.answers import Answers
from gently.core.preflight.alikes import Alikes
from plans import Acquisition, Seen

__all__ = ["Rehearsal"]

_RUN_UID = "0" * 32


class _Done:
    """A status that is done, as all are whose time has been reckoned already."""

    done = True
    success = True

    def add_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back at once."""
        callback(self)

    def exception(self, timeout: float | None = 0.0) -> None:
        """Return nothing: it went well."""

    def wait(self, timeout: float | None = None) -> None:
        """Return at once."""


_DONE = _Done()


class Rehearsal:
    """Answers a plan's messages as the RunEngine would, without the hardware.

    What was set is read; a volume that was taken is read under a uid of zeros. Time goes on
    with what the devices' models say, and those that a plan starts together work together.

    Parameters
    ----------
    answers
        What plans may ask for.

    Attributes
    ----------
    models
        The devices as the plan has left them so far.
    alikes
        The parts of the plan that are like others.
    """

    def __init__(self, answers: Answers) -> None:
        self.models = Models()
        self.alikes = Alikes(self.models)
        self._answers = answers
        self._began_s = time.time()
        self._played = 0
        self._ends: dict[Hashable, float] = {}
        self._parts: dict[str, Callable[[Msg], Any]] = {
            "set": self._set,
            "prepare": self._prepare,
            "trigger": self._trigger,
            "read": self._read,
            "stage": self._stage,
            "unstage": self._unstage,
            "stop": self._stop,
            "sleep": self._sleep,
            "wait": self._wait,
            "pause": self._pause,
            "clock": lambda _: self._clock_s,
            "wait_until": self._wait_until,
            "acquisition": self._acquisition,
            "dose": self._dose,
            "sharpest": lambda _: None,
            "look": lambda _: None,
            "seen": lambda _: Seen(),
            "calibrate": self._calibrate,
            "begin_alike": lambda message: self.alikes.begin(message.args[0], self._played),
            "end_alike": lambda message: self.alikes.end(message.args[0], self._played),
            "open_run": lambda _: _RUN_UID,
            "close_run": lambda _: _RUN_UID,
            "subscribe": lambda _: 0,
            "RE_class": lambda _: RunEngine,
            "rewindable": lambda _: True,
            **dict.fromkeys(_WITHOUT_EFFECT, lambda _: None),
        }

    def play(self, message: Msg) -> Any:
        """Play one message, and return what the plan is to be answered.

        Raises
        ------
        DeviceError
            For what a device would refuse.
        TypeError
            For what cannot be played.
        """
        try:
            part = self._parts[message.command]
        except KeyError:
            raise TypeError(
                f"the message {message.command!r} cannot be checked, so it is not allowed here"
            ) from None
        self._played += 1
        return part(message)

    # ------------------------------------------------------------------ devices

    def _set(self, message: Msg) -> Any:
        return self._begun(message, self._model(message).set)

    def _prepare(self, message: Msg) -> Any:
        return self._begun(message, self._model(message).prepare)

    def _trigger(self, message: Msg) -> Any:
        return self._begun(message, self._model(message).trigger)

    def _begun(self, message: Msg, verb: Callable[..., float]) -> _Done:
        kwargs = {key: value for key, value in message.kwargs.items() if key != "group"}
        ends_s = self.models.now_s + verb(*message.args, **kwargs)
        group = message.kwargs.get("group")
        self._ends[group] = max(ends_s, self._ends.get(group, 0.0))
        return _DONE

    def _read(self, message: Msg) -> dict[str, Any]:
        values, now_s = self._model(message).read(), self.models.now_s
        return {key: {"value": value, "timestamp": now_s} for key, value in values.items()}

    def _stage(self, message: Msg) -> list[Any]:
        self._model(message)
        return [message.obj]

    def _unstage(self, message: Msg) -> _Done:
        self._model(message).unstage()
        return _DONE

    def _stop(self, message: Msg) -> None:
        self._model(message).stop()

    def _model(self, message: Msg) -> DeviceModel:
        if not isinstance(message.obj, HardwareDevice):
            raise TypeError(
                f"{message.obj!r} cannot be checked, so it is not {_PARTICIPLES[message.command]}"
            )
        return self.models.of(message.obj)

    def _calibrate(self, message: Msg) -> str:
        light_sheet, view, *_ = message.args
        model = self.models.of(light_sheet)
        if isinstance(model, LightSheetModel):
            model.calibrate(view)
        return ""

    # ------------------------------------------------------------------ time

    def _sleep(self, message: Msg) -> None:
        (seconds,) = message.args
        self.models.now_s += max(0.0, float(seconds))

    def _wait(self, message: Msg) -> bool:
        group = message.args[0] if message.args else message.kwargs.get("group")
        ends_s = self._ends.pop(group, 0.0)
        timeout_s = message.kwargs.get("timeout")
        waits_s = ends_s - self.models.now_s
        if timeout_s is not None and waits_s > timeout_s:
            self.models.complaints.append(
                f"gives up after {timeout_s:g} s what takes about {waits_s:.3g} s"
            )
        self.models.now_s = max(self.models.now_s, ends_s)
        return True

    @property
    def _clock_s(self) -> float:
        return self._began_s + self.models.now_s

    def _wait_until(self, message: Msg) -> float:
        (end_s,) = message.args
        self.models.now_s = max(self.models.now_s, end_s - self._began_s)
        return self._clock_s

    def _pause(self, _: Msg) -> None:
        self.models.complaints.append(
            "pauses by itself, until somebody resumes it; that time is not estimated"
        )

    # ------------------------------------------------------------------ what is known

    def _acquisition(self, message: Msg) -> Acquisition:
        (uid,) = message.args
        return self._answers.acquisition(uid) if uid else Acquisition(_RUN_UID)

    def _dose(self, message: Msg) -> Dose:
        (embryo,) = message.args
        rehearsed = (model.use.dose_of.get(embryo, Dose()) for model in self.models)
        return sum(rehearsed, self._answers.dose(embryo))


_WITHOUT_EFFECT = (
    "checkpoint",
    "clear_checkpoint",
    "create",
    "declare_stream",
    "drop",
    "null",
    "save",
    "unsubscribe",
)
_PARTICIPLES = {
    "set": "moved",
    "prepare": "prepared",
    "trigger": "triggered",
    "read": "read",
    "stage": "staged",
    "unstage": "unstaged",
    "stop": "stopped",
}
