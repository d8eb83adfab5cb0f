"""What can be found out without moving anything and without light: all is read, nothing set."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from devices import (
    Camera,
    DeviceError,
    HardwareDevice,
    Lasers,
    LightSheet,
    LightSource,
    LimitError,
    TriggeredSlicer,
    VolumeRequest,
    XYStage,
)
from gently.check.bench import Axis, Bench, axes_of
from gently.check.report import Finding, Group, Measured, Status, measured

__all__ = ["readings"]

# The controller's fence is a count of its encoder.
_FENCE_UM = 1.0
_SLOPES_UM_PER_DEG = (90.0, 110.0)
_EXPOSURES_MS = (1.0, 2.5, 3.3, 5.0, 10.0, 20.0)
_QUARTER_MS = 0.25
_TRIAL_BYTES = 16 << 20
_FEW_VOLUMES = 100
_SLICES = 50
_EXPOSURE_MS = 5.0


def readings(bench: Bench) -> Iterator[Finding]:
    """Yield all that reading tells."""
    for device in bench.instrument.devices.values():
        yield _device(bench, device)
    for device in bench.instrument.devices.values():
        for axis in axes_of(device):
            yield _limits(bench, device, axis)
    for stage in bench.all_of(XYStage):
        yield from _guarded(Group.LIMITS, f"{stage.name} fence", _fence(bench, stage))
    for camera in bench.all_of(Camera):
        yield from _guarded(Group.CAMERAS, camera.name, _camera(bench, camera))
    for light in bench.lights:
        yield from _guarded(Group.LIGHT, f"{light.name} off", _dark(light))
    for sheet in bench.all_of(LightSheet):
        if isinstance(sheet.slicer, TriggeredSlicer):
            yield from _calibrations(bench, sheet, sheet.slicer)
            yield from _timings(sheet, sheet.slicer)
    yield _disk(bench)


def _guarded(group: Group, name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings, and as another what the hardware refuses to tell."""
    try:
        yield from findings
    except DeviceError as error:
        yield Finding(group=group, name=name, status=Status.FAILED, says=str(error))


def _device(bench: Bench, device: HardwareDevice) -> Finding:
    core, name = bench.instrument.core, device.name
    known = [
        measured("label", device.label),
        measured("adapter", core.adapter(device.label)),
        measured("type", core.kind(device.label)),
    ]
    began = time.monotonic()
    try:
        found = device.readback()
    except DeviceError as error:
        return Finding(
            group=Group.DEVICES,
            name=name,
            status=Status.FAILED,
            says=str(error),
            measured=tuple(known),
            expected="an answer",
            remedy="Check its power and its cable, then check again.",
        )
    took_ms = 1000 * (time.monotonic() - began)
    values = [
        measured(key.removeprefix(name).lstrip("_") or "is", one["value"], one["units"])
        for key, one in found.items()
        if one["value"] != ""
    ]
    ages_s = [time.time() - one["timestamp"] for one in found.values()]
    return Finding(
        group=Group.DEVICES,
        name=name,
        status=Status.OK,
        measured=(
            *values,
            measured("answered in", took_ms, "ms"),
            measured("age", max(ages_s, default=0.0), "s"),
            *known,
        ),
    )


def _limits(bench: Bench, device: HardwareDevice, axis: Axis) -> Finding:
    low, high = axis.limits.low, axis.limits.high
    is_off = isinstance(device, Lasers) and axis.value == 0
    is_within = is_off or low <= axis.value <= high
    beyond = (low - _beyond(axis), high + _beyond(axis))
    passed = [value for value in beyond if not _is_refused(device, axis, value)]
    says, remedy = "", ""
    if not is_within:
        says = f"it is at {axis.value:g}, outside of its limits"
        remedy = (
            "Bring it within its limits by hand, or correct the limits in the instrument file; "
            "nothing of it is moved by this check."
        )
    elif passed:
        says = f"a target of {' and of '.join(f'{value:g}' for value in passed)} is not refused"
        remedy = "Use this device no further, and report it as an error of gently."
    return Finding(
        group=Group.LIMITS,
        name=f"{device.name}.{axis.name}",
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=(
            measured("is", axis.value, axis.limits.units),
            measured("low", low, axis.limits.units),
            measured("high", high, axis.limits.units),
            measured("refused beyond them", not passed),
        ),
        expected=f"{low:g} to {high:g}{' or 0' if isinstance(device, Lasers) else ''}, and what is "
        "beyond refused without being tried",
        source=bench.source,
        remedy=remedy,
    )


def _beyond(axis: Axis) -> float:
    """Return by how much a target is to be beyond a limit."""
    return (axis.limits.high - axis.limits.low) / 1000


def _is_refused(device: HardwareDevice, axis: Axis, value: float) -> bool:
    try:
        device.check_value(axis.asked(value))
    except LimitError:
        return True
    return False


def _fence(bench: Bench, stage: XYStage) -> Iterator[Finding]:
    found = stage.fence_um()
    for axis, limits in stage.limits.items():
        name = f"{stage.name}.{axis} fence"
        if axis not in found:
            yield Finding(
                group=Group.LIMITS,
                name=name,
                status=Status.ATTENTION,
                says="the controller keeps no limits of its own for this axis",
                expected="a fence that a joystick cannot pass either",
                source="the controller's properties",
                remedy="Keep hands off the joystick near the ends; limits in software bind gently.",
            )
            continue
        low, high = found[axis]
        off_um = max(abs(low - limits.low), abs(high - limits.high))
        is_same = off_um <= _FENCE_UM  # false for a NaN
        yield Finding(
            group=Group.LIMITS,
            name=name,
            status=Status.OK if is_same else Status.FAILED,
            says="" if is_same else "the controller keeps other limits than the instrument file",
            measured=(measured("low", low, "um"), measured("high", high, "um")),
            expected=f"{limits.low:g} to {limits.high:g} µm, to {_FENCE_UM:g} µm",
            source=bench.source,
            remedy=""
            if is_same
            else "Start it again, which writes the fence; if it stays so, "
            "look whether another program talks to the controller.",
        )


def _camera(bench: Bench, camera: Camera) -> Iterator[Finding]:
    height, width, dtype = camera.frame_format()
    region = camera.region()
    is_asked = camera.roi is None or region == camera.roi
    yield Finding(
        group=Group.CAMERAS,
        name=camera.name,
        status=Status.OK if is_asked else Status.FAILED,
        says="" if is_asked else "it reads another part of its sensor than it was told",
        measured=(
            measured("width", width, "px"),
            measured("height", height, "px"),
            measured("type", dtype.name),
            measured("significant bits", camera.significant_bits()),
            measured("region", ", ".join(map(str, region)), "px"),
        ),
        expected="any region" if camera.roi is None else ", ".join(map(str, camera.roi)) + " px",
        source=bench.source,
        remedy="" if is_asked else "Correct roi in the instrument file.",
    )


def _dark(light: LightSource) -> Iterator[Finding]:
    light.check_safe()
    state = light.read()[light.name]["value"]
    yield Finding(
        group=Group.LIGHT,
        name=f"{light.name} off",
        status=Status.OK,
        measured=(measured("is", str(state)),),
        expected="off, before anything is done",
    )


def _calibrations(bench: Bench, sheet: LightSheet, slicer: TriggeredSlicer) -> Iterator[Finding]:
    kept = bench.calibrations.latest()
    for view, one in slicer.views.items():
        latest, used = kept.get((sheet.name, view)), one.calibration
        says, remedy = "", ""
        if latest is not None and latest.uid != used.uid:
            says = f"the latest, {latest.uid}, is not used; that of the instrument file is"
        elif used.valid_until_s is not None and used.valid_until_s < time.time():
            says = "it has come to its end, and no slices are lit by it"
        elif not _SLOPES_UM_PER_DEG[0] <= used.slope_um_per_deg <= _SLOPES_UM_PER_DEG[1]:
            says = "the slope is none that such a microscope has"
        if says:
            remedy = "Run calibrate_piezo_galvo on an embryo."
        values: list[Measured] = [
            measured("slope", used.slope_um_per_deg, "um/deg"),
            measured("offset", used.offset_um, "um"),
            measured("from", used.uid or bench.source),
        ]
        if used.valid_until_s is not None:
            values.append(measured("valid until", _utc(used.valid_until_s)))
        low, high = _SLOPES_UM_PER_DEG
        yield Finding(
            group=Group.CALIBRATION,
            name=f"{sheet.name} view {view}",
            status=Status.ATTENTION if says else Status.OK,
            says=says,
            measured=tuple(values),
            expected=f"a slope of {low:g} to {high:g} µm/deg, valid still",
            source="a dual-view light-sheet microscope of this kind",
            remedy=remedy,
        )


def _utc(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"


def _timings(sheet: LightSheet, slicer: TriggeredSlicer) -> Iterator[Finding]:
    for exposure_ms in _EXPOSURES_MS:
        request = VolumeRequest(
            num_slices=1,
            exposure_ms=exposure_ms,
            step_um=0.0,
            view="dual" if "b" in slicer.views else "a",
        )
        try:
            # Without a piezo's place, which is no matter of timing.
            for view in request.views:
                slicer.views[view].camera.check_value(exposure_ms)
            yield _timing(sheet, slicer, request)
        except LimitError as error:
            yield Finding(
                group=Group.TIMING,
                name=f"{sheet.name} at {exposure_ms:g} ms",
                status=Status.OK,
                says=f"is refused beforehand: {error}",
                expected="refused, or a timing that can be kept",
                source="limits, readout of the rows, filter of the mirrors",
            )


def _timing(sheet: LightSheet, slicer: TriggeredSlicer, request: VolumeRequest) -> Finding:
    timing = slicer.timing(request)
    readout_ms = max(slicer.views[view].camera.clock().readout_ms for view in request.views)
    parts = {
        "scan delay": timing.scan_delay_ms,
        "scan": timing.scan_ms,
        "laser delay": timing.laser_delay_ms,
        "laser": timing.laser_ms,
        "camera delay": timing.camera_delay_ms,
        "camera pulse": timing.camera_pulse_ms,
    }
    least_ms = request.exposure_ms + readout_ms
    problems = {
        "a part is no quarter of a ms": any(ms % _QUARTER_MS for ms in parts.values()),
        "the camera is not triggered": timing.camera_pulse_ms <= 0,
        "the laser is not lit for the exposure": timing.laser_ms != request.exposure_ms,
        "the camera would be triggered while it is read": timing.slice_ms < least_ms,
    }
    wrong = [problem for problem, is_there in problems.items() if is_there]
    return Finding(
        group=Group.TIMING,
        name=f"{sheet.name} at {request.exposure_ms:g} ms",
        status=Status.FAILED if wrong else Status.OK,
        says="; ".join(wrong),
        measured=(
            measured("a slice", timing.slice_ms, "ms"),
            *(measured(name, ms, "ms") for name, ms in parts.items()),
        ),
        expected=f"quarters of a ms; a slice of at least {least_ms:g} ms",
        source="exposure, readout of the rows, filter of the mirrors",
        remedy="Report it as an error of gently." if wrong else "",
    )


def _disk(bench: Bench) -> Finding:
    """Look at the room that is left, and at how fast a file becomes safe there."""
    try:
        free = shutil.disk_usage(bench.storage).free
        mb_s = _write_mb_s(bench.storage)
    except OSError as error:
        return Finding(
            group=Group.DISK,
            name="storage",
            status=Status.FAILED,
            says=f"{bench.storage} cannot be written: {error.strerror or error}",
            remedy="Free space there, or choose another --storage.",
        )
    values = [measured("free", free / 1e9, "GB"), measured("writes", mb_s, "MB/s")]
    says, expected, source = [], "", ""
    if sheet := next(iter(bench.all_of(LightSheet)), None):
        size, seconds = _volume(sheet)
        values.append(measured(f"volumes of {_SLICES} slices that fit", free // size))
        says += ["little room is left"] if free < _FEW_VOLUMES * size else []
        says += ["it is slower than the camera"] if mb_s < size / seconds / 1e6 else []
        expected = f"room for {_FEW_VOLUMES} volumes; {size / seconds / 1e6:.0f} MB/s"
        source = f"a volume of {size / 1e6:.0f} MB in {seconds:.2f} s, of {sheet.name}"
    return Finding(
        group=Group.DISK,
        name="storage",
        status=Status.ATTENTION if says else Status.OK,
        says=" and ".join(says),
        measured=tuple(values),
        expected=expected,
        source=source,
        remedy="Free space, or choose a faster disk." if says else "",
    )


def _volume(sheet: LightSheet) -> tuple[int, float]:
    """Return the bytes of an ordinary volume, and in how many seconds it comes."""
    camera = sheet.slicer.views["a"].camera
    exposure_ms = min(max(_EXPOSURE_MS, camera.limits["exposure_ms"].low), 1000.0)
    request = VolumeRequest(num_slices=_SLICES, exposure_ms=exposure_ms, step_um=0.0)
    return sheet.volume_bytes(request), sheet.slicer.course(request, {"a": 0.0}).seconds


def _write_mb_s(folder: os.PathLike[str]) -> float:
    block = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="check-", suffix=".part") as file:
        began = time.monotonic()
        for _ in range(_TRIAL_BYTES >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return _TRIAL_BYTES / 1e6 / (time.monotonic() - began)
