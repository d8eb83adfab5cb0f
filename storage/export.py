"""Copies of a volume for other programs. The store keeps the volume; a copy is nobody's truth.

A copy has its name only when it is whole, and replaces nothing. Memory is a few tiles or slices,
whatever the volume's size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import tifffile
from numpy.typing import NDArray

from storage import disk
from storage.errors import ExportTakenError
from storage.hierarchy import Chunk, Hierarchy
from storage.inventory import Progress
from storage.ome_zarr import SUFFIX
from storage.series import Series
from storage.volume import Volume

_PART: Final = ".part"
# Classic TIFF counts bytes in 32 bits, and ImageJ reads no other. Beyond, it takes the slices to
# lie one after the other behind the first page.
_CLASSIC_BYTES: Final = (1 << 32) - (1 << 24)


def export_ome_zarr(volume: Volume, folder: Path, progress: Progress) -> Path:
    """Write a volume with its coarser levels as plain OME-Zarr: a file for each raw tile.

    Parameters
    ----------
    folder
        Where ``{uid}.ome.zarr`` is made.
    progress
        Called with the tiles that are done, and how many there are.

    Returns
    -------
    Path
        Of what was made.

    Raises
    ------
    ExportTakenError
        There is something of that name.
    StorageFullError
        The disk has no room for it.
    """
    hierarchy = Hierarchy(volume.record)
    chunks = list(hierarchy.chunks())
    target = folder / f"{volume.record.uid}{SUFFIX}"
    with _made(target, sum(chunk.size for chunk in chunks)) as part:
        for done, chunk in enumerate(chunks):
            progress(done, len(chunks))
            _write_tile(part / chunk.key, hierarchy, chunk, volume)
        for key, document in hierarchy.documents():
            (part / key).write_bytes(document)
        progress(len(chunks), len(chunks))
    return target


def export_series(
    series: Series, opened: Callable[[str], Volume], folder: Path, progress: Progress
) -> Path:
    """Write an acquisition as `export_ome_zarr` does a volume: with axes t, c, z, y, x.

    Parameters
    ----------
    opened
        Opens a volume by its UID, as `VolumeStore.open` does.
    folder
        Where ``{uid of the acquisition}.ome.zarr`` is made.
    progress
        Called with the volumes that are done, and how many there are.

    Returns
    -------
    Path
        Of what was made.

    Raises
    ------
    ExportTakenError, StorageFullError
        As of `export_ome_zarr`.
    """
    volumes = list(series.volumes())
    target = folder / f"{series.uid}{SUFFIX}"
    with _made(target, len(volumes) * series.volume_bytes) as part:
        for done, (place, uid) in enumerate(volumes):
            progress(done, len(volumes))
            with opened(uid) as volume:
                hierarchy = Hierarchy(volume.record)
                for chunk in hierarchy.chunks():
                    path = part / chunk.key.replace("/c/", f"/c/{place}/")
                    _write_tile(path, hierarchy, chunk, volume)
        for key, document in series.documents():
            (part / key).write_bytes(document)
        progress(len(volumes), len(volumes))
    return target


def _write_tile(path: Path, hierarchy: Hierarchy, chunk: Chunk, volume: Volume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hierarchy.read(chunk, volume.array))


def export_imagej(volume: Volume, folder: Path, progress: Progress) -> Path:
    """Write a volume as a TIFF stack that ImageJ and Fiji open with its calibration.

    Parameters
    ----------
    folder
        Where ``{uid}.tif`` is made.
    progress
        Called with the slices that are done, and how many there are.

    Returns
    -------
    Path
        Of what was made.

    Raises
    ------
    ExportTakenError
        There is something of that name.
    StorageFullError
        The disk has no room for it.
    """
    spec = volume.record.spec
    target = folder / f"{spec.uid}.tif"
    per_um = 1 / spec.pixel_size_um
    with _made(target, spec.volume_bytes) as part:
        tifffile.imwrite(
            part,
            _slices(volume, progress),
            shape=spec.shape,
            dtype=spec.dtype,
            imagej=True,
            truncate=spec.volume_bytes > _CLASSIC_BYTES,
            resolution=(per_um, per_um),
            resolutionunit="NONE",
            metadata={
                "axes": "ZYX",
                "unit": "um",
                **({"spacing": spec.step_um} if spec.step_um else {}),
                "Info": volume.record.model_dump_json(exclude={"path"}, indent=1),
            },
        )
    return target


def _slices(volume: Volume, progress: Progress) -> Iterator[NDArray[Any]]:
    for done, image in enumerate(volume.slices()):
        progress(done, len(volume.array))
        yield image
    progress(len(volume.array), len(volume.array))


@contextmanager
def _made(target: Path, size: int) -> Iterator[Path]:
    """Give a temporary name beside `target`, and the true one once all went well."""
    part = target.with_name(target.name + _PART)
    for name in (target, part):
        if name.exists() or name.is_symlink():
            raise ExportTakenError(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with disk.room_for(target.parent, size):
            yield part
        part.replace(target)
    except BaseException:
        disk.remove(part)
        raise
