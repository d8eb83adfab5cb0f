"""Whether a file is a whole TIFF, and what it holds."""

from pathlib import Path

import tifffile

from gently.core.lineage.values import UNREADABLE


def inspect_tiff(path: Path) -> tuple[tuple[int, ...], str]:
    """Return the shape and dtype of a whole TIFF, or raise ValueError with what is wrong."""
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            shape, dtype = series.shape, series.dtype
            whole = _has_all_pixels(tiff, path.stat().st_size)
    except (tifffile.TiffFileError, *UNREADABLE) as error:
        raise ValueError(f"is not a readable TIFF: {error}") from error
    if not whole:
        raise ValueError("is cut off: pages or pixels are missing at its end")
    return tuple(shape), str(dtype)


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
