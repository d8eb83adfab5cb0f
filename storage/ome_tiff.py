"""One volume as one OME-BigTIFF: laid out whole, filled slot by slot, read back by its first page.

tifffile lays out the bytes and reads them back; the frames go to their slots past it.
"""

import os
import struct
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from pydantic import ValidationError

from storage import disk, ome_xml
from storage.errors import BrokenVolumeError
from storage.stored import Slots, Stored
from storage.values import VolumeRecord, VolumeSpec, volume_checksum

SUFFIX: Final = ".tif"
_CM_UM: Final = 10_000
# What the parsers raise on bytes that nobody meant for them; a fuzz test keeps the list honest.
_UNREADABLE: Final = (
    tifffile.TiffFileError,
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class OmeTiffFile:
    """A laid-out file whose frames are still to come. Slots may be written by several threads."""

    def __init__(self, path: Path, spec: VolumeSpec, created: datetime) -> None:
        self._path = path
        self._spec = spec
        description = ome_xml.draft(spec, created)
        with disk.room_for(path.parent, len(description) + spec.volume_bytes):
            _lay_out(path, spec, description)
            disk.reserve(path)
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            self._pixels_at: int = page.dataoffsets[0]
            self._xml_at: int = page.tags["ImageDescription"].valueoffset
            self._xml_bytes: int = page.tags["ImageDescription"].count - 1
        self._slots = disk.open_slots(path, self._pixels_at, spec.frame_bytes)

    def write(self, index: int, frame: memoryview) -> None:
        """Write one frame's bytes to its slot; raises OSError."""
        self._slots.write(self._pixels_at + index * self._spec.frame_bytes, frame)

    def close(self) -> None:
        """Close the file as it is."""
        self._slots.close()

    def seal(self, written: ome_xml.Written) -> None:
        """Write the final description, put everything on the disk and match it with the spec."""
        self._slots.close()
        xml = ome_xml.final(written, self._xml_bytes)
        with self._path.open("r+b") as file:
            file.seek(self._xml_at)
            file.write(xml)
            file.flush()
            os.fsync(file.fileno())
        self._match()

    def _match(self) -> None:
        """Read the layout back as a stranger would; raises BrokenVolumeError."""
        spec = self._spec
        with tifffile.TiffFile(self._path) as tiff:
            last = tiff.pages[-1]
            values, _ = ome_xml.read(tiff.pages.first.description.encode())
            found = (values["uid"], len(tiff.pages), *last.shape, last.dtype, last.dataoffsets[0])
        offset = self._pixels_at + (spec.shape[0] - 1) * spec.frame_bytes
        asked = (spec.uid, *spec.shape, np.dtype(spec.dtype), offset)
        if found != asked:
            raise BrokenVolumeError(self._path, f"reads back as {found}, asked for {asked}")


def load(path: Path) -> Stored:
    """Return the volume in this file; raises as `read_record` does."""
    record, pixels_at, digests = read_record(path)
    return Stored(record, digests, Slots(record, path, pixels_at, rows=record.shape[1]))


def read_record(path: Path) -> tuple[VolumeRecord, int, Sequence[bytes]]:
    """Return a file's record, where its pixels begin, and its frames' digests.

    Only the header, the first page's tags and the description are read, and nothing that the file
    says is believed before it is matched with the file's own size and name.

    Raises
    ------
    BrokenVolumeError
        The file is not a volume; the reason says why.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            described = page.description.encode()
            stored = (*page.shape, str(page.dtype), page.compression == 1, len(page.dataoffsets))
            pixels_at = page.dataoffsets[0]
        values, digests = ome_xml.read(described)
        record = _record(path, values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BrokenVolumeError(path, f"its description's {where}: {problem['msg']}") from error
    except _UNREADABLE as error:
        raise BrokenVolumeError(path, str(error) or repr(error)) from error
    _distrust(record, stored, digests, room=path.stat().st_size - pixels_at)
    return record, pixels_at, digests


def _distrust(
    record: VolumeRecord, stored: tuple[Any, ...], digests: Sequence[bytes], room: int
) -> None:
    """Match what the description says with the file itself; raises BrokenVolumeError."""
    spec, path = record.spec, record.path
    if spec.uid != path.stem:
        raise BrokenVolumeError(path, f"it holds volume {spec.uid}, not the one of its name")
    if stored != (*spec.shape[1:], spec.dtype, True, 1):
        raise BrokenVolumeError(
            path, f"its first page is {stored}, its description says {spec.dtype} {spec.shape}"
        )
    if room < spec.volume_bytes:
        raise BrokenVolumeError(path, "it ends before its pixels do")
    if len(digests) != spec.shape[0] or volume_checksum(digests) != record.checksum:
        raise BrokenVolumeError(path, "the checksums in its description contradict each other")


def _record(path: Path, values: dict[str, Any]) -> VolumeRecord:
    spec = {name: values.pop(name) for name in VolumeSpec.model_fields if name in values}
    return VolumeRecord.model_validate({**values, "spec": spec, "path": path})


def _lay_out(path: Path, spec: VolumeSpec, description: bytes) -> None:
    """Write every header and tag, with holes for the pixels."""
    per_cm = _CM_UM / spec.pixel_size_um
    tifffile.imwrite(
        path,
        data=None,
        shape=spec.shape,
        dtype=spec.dtype,
        byteorder="<",
        bigtiff=True,
        photometric="minisblack",
        description=description,
        metadata=None,
        ome=False,
        software=False,
        align=disk.ALIGNMENT,
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
    )
