"""Files that others wrote are what their suffix says, whole, and have a checksum."""

import contextlib
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash
from pydantic import JsonValue

from gently.core.lineage import RegistrationError, examine, measure
from tests.core.lineage.samples import IMAGES, KNOWN, OTHERS, sample, write_zarr


class TestAKnownFormat:
    @pytest.mark.parametrize("name", KNOWN)
    def test_is_accepted_whole_and_as_its_metadata_say(self, tmp_path: Path, name: str) -> None:
        said: dict[str, JsonValue] = {"shape": [2, 8, 12], "dtype": "uint16"}
        examine(sample(tmp_path, name), "projection", said)

    @pytest.mark.parametrize("name", [*IMAGES, "a.npy"])
    def test_is_refused_if_it_is_another_than_the_metadata_say(
        self, tmp_path: Path, name: str
    ) -> None:
        path = sample(tmp_path, name)
        with pytest.raises(RegistrationError, match=r"shape \(2, 8, 12\), not \(2, 8, 13\)"):
            examine(path, "mask", {"shape": [2, 8, 13]})
        with pytest.raises(RegistrationError, match="holds uint16, not uint8"):
            examine(path, "mask", {"dtype": "uint8"})

    @pytest.mark.parametrize("name", ["a.ome.tif", "a.tiff", "a.npy", "a.parquet"])
    def test_is_refused_if_it_is_cut_off(self, tmp_path: Path, name: str) -> None:
        path = sample(tmp_path, name)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 4])
        with pytest.raises(RegistrationError, match=f"{name} is"):
            examine(path, "mask", {})

    @pytest.mark.parametrize("name", [n for n in KNOWN if not n.endswith("zarr")])
    def test_is_refused_if_it_is_something_else(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"\0these are no pixels and no rows\xff")
        with pytest.raises(RegistrationError, match=f"{name} is "):
            examine(path, "mask", {})

    @pytest.mark.parametrize("name", KNOWN)
    def test_is_refused_if_it_is_not_there(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(RegistrationError, match="there is no f"):
            examine(tmp_path / name, "mask", {})

    @pytest.mark.parametrize("name", OTHERS)
    def test_without_pixels_is_no_volume_unless_it_is_an_image(
        self, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(RegistrationError, match="is no volume"):
            examine(sample(tmp_path, name), "volume", {})

    def test_of_a_folder_is_no_file_and_the_other_way_round(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").mkdir()
        (tmp_path / "a.zarr").write_text("")
        with pytest.raises(RegistrationError, match="is no file"):
            examine(tmp_path / "a.tif", "volume", {})
        with pytest.raises(RegistrationError, match="is no folder"):
            examine(tmp_path / "a.zarr", "volume", {})

    def test_damaged_anywhere_never_raises_anything_else(self, tmp_path: Path) -> None:
        dice = random.Random(0)
        for name in KNOWN:
            path = sample(tmp_path, name)
            part = path if path.is_file() else path / "0" / ".zarray"
            part = part if part.exists() else path / "zarr.json"
            whole = part.read_bytes()
            for _ in range(60):
                damaged = bytearray(whole)
                for _ in range(dice.randint(1, 6)):
                    damaged[dice.randrange(min(len(damaged), 400))] = dice.randrange(256)
                part.write_bytes(damaged)
                with contextlib.suppress(RegistrationError):
                    examine(path, "mask", {})


class TestAZarr:
    @pytest.mark.parametrize("level", ["../../secret", "/etc"])
    def test_whose_level_is_outside_of_it_is_refused(self, tmp_path: Path, level: str) -> None:
        path = tmp_path / "a.zarr"
        write_zarr(path)
        description = path / "zarr.json"
        description.write_text(description.read_text().replace('"0"', f'"{level}"'))
        with pytest.raises(RegistrationError, match="outside of it"):
            examine(path, "volume", {})

    def test_without_its_array_is_refused(self, tmp_path: Path) -> None:
        path = sample(tmp_path, "a.ome.zarr")
        (path / "0" / "zarr.json").unlink()
        with pytest.raises(RegistrationError, match="not a readable OME-Zarr"):
            examine(path, "volume", {})


class TestAnyOtherFormat:
    def test_is_accepted_only_as_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.docx"
        path.write_bytes(b"anything")
        examine(path, "file", {})
        with pytest.raises(RegistrationError, match=r"\.parquet\); register it with kind='file'"):
            examine(path, "table", {})

    def test_does_not_spare_a_known_one_its_check(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(b"anything")
        with pytest.raises(RegistrationError, match="not a readable TIFF"):
            examine(path, "file", {})

    def test_of_one_endless_line_is_no_table(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(b"x" * (2 << 20))
        with pytest.raises(RegistrationError, match="a line of a megabyte"):
            examine(path, "table", {})


class TestAChecksum:
    def test_of_a_file_is_xxh3_of_its_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"gently" * 500_000)
        content = measure(path)
        assert content.bytes == 3_000_000
        assert content.checksum == f"xxh3_128:{xxhash.xxh3_128_hexdigest(path.read_bytes())}"

    def test_needs_memory_for_pieces_only(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        with path.open("wb") as file:
            file.truncate(64 << 20)
        tracemalloc.start()
        measure(path, tmp_path / "copy.bin")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 << 20

    def test_of_a_folder_depends_on_names_and_bytes_and_on_no_order(self, tmp_path: Path) -> None:
        def folder(name: str, **files: str) -> Path:
            for file, text in files.items():
                (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
                (tmp_path / name / "deep" / file).write_text(text)
            return tmp_path / name

        first = measure(folder("first", a="1", b="22"))
        assert first.bytes == 3
        assert measure(folder("again", b="22", a="1")) == first
        others = [folder("x", a="12", b="2"), folder("y", c="1", b="22"), folder("z", a="1")]
        assert first not in map(measure, others)

    @pytest.mark.skipif(os.name == "nt", reason="Windows asks for a right to make links")
    def test_follows_no_link_out_of_a_folder(self, tmp_path: Path) -> None:
        path = sample(tmp_path, "a.ome.zarr")
        (path / "0" / "c" / "secret").symlink_to("/etc/passwd")
        with pytest.raises(RegistrationError, match="secret is neither a file nor a folder"):
            measure(path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
    def test_does_not_wait_for_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(RegistrationError, match="neither a file nor a folder"):
            measure(tmp_path / "pipe")

    def test_of_a_file_that_is_being_written_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(bytes(100))

        @contextlib.contextmanager
        def while_it_grows(_: Path | None) -> Iterator[Callable[[bytes], object]]:
            with path.open("ab") as file:
                file.write(b"more")
            yield lambda _: None

        monkeypatch.setattr("gently.core.lineage.files._copying", while_it_grows)
        with pytest.raises(RegistrationError, match="is being written"):
            measure(path)
