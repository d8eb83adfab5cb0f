"""``gently-store`` tells people and programs what is so; its exit code says if all is well."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import FrameInfo, VolumeRecord, VolumeStore, new_uid
from storage.cli import main
from tests.storage.helpers import make_spec, write_volume

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command on the store; gives the exit code and what was printed."""
    monkeypatch.setenv("GENTLY_STORAGE", str(store.root))

    def run(*arguments: object) -> tuple[int, str]:
        try:
            code: Any = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def write(store: VolumeStore, **changes: Any) -> VolumeRecord:
    return write_volume(store, make_spec(**{"shape": (2, 4, 4), **changes}))


def test_volumes_are_listed_with_the_newest_first(store: VolumeStore, run: Run) -> None:
    records = [write(store, session_id=session) for session in ("a", "b", "b")][::-1]
    code, said = run("list")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == [record.uid for record in records]
    code, said = run("list", "--json", "--session", "b", "-n", 1)
    assert (code, json.loads(said)) == (0, {"volumes": [records[0].metadata()], "broken": []})
    code, said = run("list", "--json", "--after", records[0].uid)
    assert [volume["uid"] for volume in json.loads(said)["volumes"]] == [r.uid for r in records[1:]]


def test_a_list_may_be_cut_by_time(store: VolumeStore, run: Run) -> None:
    old, new = write(store), write(store)
    _, said = run("list", "--json", "--since", new.created.isoformat())
    assert [volume["uid"] for volume in json.loads(said)["volumes"]] == [new.uid]
    _, said = run("list", "--json", "--until", new.created.isoformat())
    assert [volume["uid"] for volume in json.loads(said)["volumes"]] == [old.uid]
    _, said = run("list", "--json", "--until", f"{old.created.astimezone().year}-01-01")
    assert json.loads(said)["volumes"] == []


def test_a_file_that_was_copied_in_is_listed_and_a_broken_one_is_named(
    store: VolumeStore, run: Run
) -> None:
    record = write(store)
    (store.volumes / "notes.txt").touch()
    code, said = run("list")
    assert code == 0
    assert record.uid in said
    assert "notes.txt: its name does not end with .tif" in said


def test_a_volume_is_shown_with_its_free_metadata(store: VolumeStore, run: Run) -> None:
    record = write(store)
    code, said = run("show", record.uid, "--json")
    assert code == 0
    assert json.loads(said) == {**record.metadata(), "metadata": record.spec.metadata}
    assert ["checksum", record.checksum] in map(str.split, run("show", record.uid)[1].splitlines())


@pytest.mark.parametrize("uid", ["5f0c3f8e2b1d4c579a637d1e8b42c90a", "../../etc/passwd"])
def test_what_is_not_there_ends_with_one_and_the_reason(uid: str, run: Run) -> None:
    for command in ("show", "verify"):
        code, said = run(command, uid)
        assert code == 1
        assert said.startswith("gently-store: ")
        assert uid in said
    for arguments in (("restore", uid), ("trash", uid, "--reason", "blurred")):
        code, said = run(*arguments)
        assert code == 1
        assert "not done: " in said


def test_verifying_finds_the_damaged_and_the_broken_and_ends_with_one(
    store: VolumeStore, run: Run
) -> None:
    good, damaged = write(store), write(store)
    assert run("verify", "--all") == (0, "2 as they were written, 0 broken\n")
    data = bytearray(damaged.path.read_bytes())
    at = data.rindex(np.asarray(store.open(damaged.uid).array).tobytes())
    data[at] ^= 1
    damaged.path.write_bytes(data)
    (store.volumes / "notes.txt").touch()
    code, said = run("verify", "--all", "--json")
    found = json.loads(said)
    assert (code, found["verified"]) == (1, 1)
    assert {Path(file["path"]).name for file in found["broken"]} == {"notes.txt", damaged.path.name}
    assert run("verify", good.uid)[0] == 0
    code, said = run("verify", good.uid, damaged.uid)
    assert code == 1
    assert "slices 0 are not what was written there" in said


def test_a_rebuild_says_how_fast_it_was_and_what_is_broken(store: VolumeStore, run: Run) -> None:
    write(store)
    (store.volumes / "notes.txt").touch()
    code, said = run("rebuild", "--json")
    found = json.loads(said)
    assert (code, found["files"]) == (0, 2)
    assert found["files_per_s"] > 0
    assert [Path(file["path"]).name for file in found["broken"]] == ["notes.txt"]
    assert "2 files in" in run("rebuild")[1]


def test_volumes_go_into_the_trash_and_come_back(store: VolumeStore, run: Run) -> None:
    records = [write(store), write(store)]
    uids = [record.uid for record in records]
    code, said = run("trash", *uids, "--reason", "blurred", "--by", "nils")
    assert code == 0
    assert said.count("was trashed by nils") == 2
    assert run("list") == (0, "")
    assert run("list", "--status", "trashed")[1].count("\n") == 2
    unknown = new_uid()
    code, said = run("restore", unknown, *uids, "--json")
    assert code == 1  # and yet the others are back
    assert list(json.loads(said)["done"]) == uids
    assert list(json.loads(said)["failed"]) == [unknown]
    assert store.list() == records[::-1]


def test_who_trashes_is_the_user_unless_told(
    store: VolumeStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "karin")
    run("trash", write(store).uid, "--reason", "blurred")
    assert store.trashed()[0].by == "karin"


def test_the_trash_is_emptied_by_age(store: VolumeStore, run: Run) -> None:
    record = write(store)
    run("trash", record.uid, "--reason", "blurred")
    assert run("empty-trash", "--older-than", 1) == (0, "0 deleted\n")
    code, said = run("empty-trash", "--older-than", 0, "--json")
    assert code == 0
    assert [note["uid"] for note in json.loads(said)["deleted"]] == [record.uid]
    assert store.trashed() == []


def test_an_acquisition_is_listed_and_copied_as_one(
    store: VolumeStore, run: Run, tmp_path: Path
) -> None:
    uid = new_uid()
    records = [write(store, acquisition_uid=uid, time_point=t) for t in range(2)]
    write(store)
    code, said = run("list", "--json", "--acquisition", uid)
    assert code == 0
    assert [volume["uid"] for volume in json.loads(said)["volumes"]] == [
        record.uid for record in reversed(records)
    ]
    code, said = run("export", "--acquisition", uid, "--to", tmp_path / "copies")
    assert (code, said) == (0, f"{uid} is copied to {tmp_path / 'copies' / uid}.ome.zarr\n")
    missing = new_uid()
    code, said = run("export", "--acquisition", missing, "--to", tmp_path / "copies")
    assert code == 1
    assert f"no complete volume of acquisition {missing}" in said


@pytest.mark.parametrize("status", ["complete", "incomplete", "trashed"])
def test_volumes_are_listed_by_their_status(store: VolumeStore, run: Run, status: str) -> None:
    uids = {"complete": write(store).uid, "trashed": write(store).uid}
    store.trash(uids["trashed"], reason="blurred", by="me")
    with store.create(make_spec(shape=(2, 4, 4))) as writer:
        writer.write(np.zeros((4, 4), np.uint16), FrameInfo(index=0, delta_t_s=0, z_um=0))
        uids["incomplete"] = writer.keep("the camera was unplugged").uid
    _, said = run("list", "--json", "--status", status)
    assert [volume["uid"] for volume in json.loads(said)["volumes"]] == [uids[status]]


def test_the_sums_are_told(store: VolumeStore, run: Run) -> None:
    record = write(store)
    code, said = run("stats", "--json")
    found = json.loads(said)
    assert code == 0
    assert (found["volumes"], found["bytes"]) == (1, record.spec.volume_bytes)
    assert (found["incomplete"], found["trashed"], found["broken"]) == (0, 0, 0)
    assert found["folder"] == str(store.root)
    assert "64 B" in run("stats")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["list", "--since", "yesterday"],
        ["list", "--store", "no such folder"],
        ["verify"],
        ["trash", new_uid()],
        ["empty-trash"],
    ],
)
def test_a_wrong_command_line_ends_with_two(arguments: list[str], run: Run) -> None:
    code, said = run(*arguments)
    assert code == 2
    assert "usage: gently-store" in said


def test_a_folder_that_is_no_store_is_not_made_one(tmp_path: Path, run: Run) -> None:
    code, said = run("list", "--store", tmp_path)
    assert code == 2
    assert "is no store: it has no folder 'volumes'" in said
    assert not (tmp_path / "volumes").exists()


def test_the_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENTLY_STORAGE", raising=False)
    with pytest.raises(SystemExit, match="2"):
        main(["list"])


def test_without_a_terminal_nothing_but_the_answer_is_printed(store: VolumeStore) -> None:
    """As a process, since how the log and the bars behave is a matter of the whole of it."""
    write(store)
    (store.volumes / "notes.txt").touch()
    command = [sys.executable, "-m", "storage.cli", "rebuild", "--json", "--store"]
    done = subprocess.run([*command, str(store.root)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["files"] == 2
    assert done.stderr == ""


@pytest.mark.parametrize(("form", "name"), [("ome-zarr", "{}.ome.zarr"), ("imagej", "{}.tif")])
def test_volumes_are_copied_and_one_that_cannot_be_does_not_stop_the_rest(
    store: VolumeStore, run: Run, tmp_path: Path, form: str, name: str
) -> None:
    first, second = write(store), write(store)
    missing, to = "0" * 32, tmp_path / "copies"
    code, said = run("export", first.uid, missing, second.uid, "--to", to, "--form", form)
    assert code == 1
    assert f"not done: no volume {missing}" in said
    for record in (first, second):
        copy = to / name.format(record.uid)
        assert copy.exists()
        assert f"{record.uid} is copied to {copy}" in said
    code, said = run("export", first.uid, "--to", to, "--form", form)
    assert code == 1
    assert "exists. Move it away" in said
