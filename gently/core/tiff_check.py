"""Whether a file is a whole TIFF, and the one that is meant."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tifffile


class NotThatTiffError(Exception):
    """The file is missing, no TIFF, cut off, or holds something else."""


def check_tiff(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raise `NotThatTiffError` unless the file is a whole TIFF, as the metadata say."""
    if not path.is_file():
        raise NotThatTiffError(f"there is no file {path}")
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            shape, dtype = series.shape, series.dtype
            whole = _has_all_pixels(tiff, path.stat().st_size)
    except (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError) as error:
        raise NotThatTiffError(f"{path} is not a readable TIFF: {error}") from error
    if not whole:
        raise NotThatTiffError(f"{path} is cut off: pages or pixels are missing at its end")
    if "dtype" in metadata and str(dtype) != metadata["dtype"]:
        raise NotThatTiffError(f"{path} holds {dtype}, not {metadata['dtype']} as its metadata say")
    # A TIFF does not tell an axis of length 1 from none.
    if "shape" in metadata and _long_axes(shape) != _long_axes(metadata["shape"]):
        raise NotThatTiffError(
            f"{path} has the shape {tuple(shape)}, not {tuple(metadata['shape'])} "
            "as its metadata say"
        )


def _has_all_pixels(tiff: tifffile.TiffFile, size: int) -> bool:
    pages = [tiff.pages.get(i) for i in range(len(tiff.pages))]
    pixels = sum(page.nbytes for page in pages)
    end = max(
        offset + count
        for page in pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    return _chain_is_closed(tiff) and pixels >= int(tiff.series[0].nbytes) and end <= size


def _chain_is_closed(tiff: tifffile.TiffFile) -> bool:
    """Whether the last page's directory says itself that no other follows."""
    file = tiff.filehandle
    file.seek(tiff.pages.next_page_offset)
    length = tiff.tiff.offsetsize
    return bool(file.read(length) == bytes(length))


def _long_axes(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]
