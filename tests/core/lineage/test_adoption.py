"""A copy is whole and on the disk under its final name, or it is not there."""

from pathlib import Path

import pytest

from gently.core.lineage import Content, RegistrationError, copied, measure, publish
from tests.core.lineage.samples import sample


@pytest.mark.parametrize("name", ["a.csv", "a.ome.zarr"])
def test_a_published_copy_equals_its_source(tmp_path: Path, name: str) -> None:
    source, target = sample(tmp_path / "theirs", name), tmp_path / "ours" / name
    with copied(source, target) as (part, content):
        assert not target.exists()
        publish(part, target, content)
    assert content == measure(source) == measure(target)
    assert {p.name for p in target.parent.iterdir()} == {".lock", name}


def test_a_copy_that_is_not_published_is_gone(tmp_path: Path) -> None:
    source, target = sample(tmp_path, "a.ome.zarr"), tmp_path / "ours" / "a.ome.zarr"
    with copied(source, target) as (part, _):
        assert measure(part) == measure(source)
    assert {p.name for p in target.parent.iterdir()} == {".lock"}


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    (ours / "part-folder.zarr" / "0").mkdir(parents=True)
    (ours / "part-b.csv").write_text("half of i")
    with copied(sample(tmp_path, "a.csv"), ours / "a.csv") as (part, content):
        publish(part, ours / "a.csv", content)
    assert {p.name for p in ours.iterdir()} == {".lock", "a.csv"}


def test_the_same_content_under_the_name_stays_and_any_other_is_never_replaced(
    tmp_path: Path,
) -> None:
    source, target = sample(tmp_path, "a.csv"), tmp_path / "ours" / "a.csv"
    for _ in range(2):
        with copied(source, target) as (part, content):
            publish(part, target, content)
    target.write_text("precious")
    with (
        copied(source, target) as (part, content),
        pytest.raises(RegistrationError, match="belongs to no record"),
    ):
        publish(part, target, content)
    assert target.read_text() == "precious"


def test_nothing_is_copied_of_what_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(RegistrationError, match="there is no file"),
        copied(tmp_path / "gone.csv", tmp_path / "ours" / "a.csv"),
    ):
        pytest.fail("there is nothing to publish")
    assert {p.name for p in (tmp_path / "ours").iterdir()} == {".lock"}


def test_a_content_says_its_size_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert measure(path) == Content(bytes=0, checksum="xxh3_128:99aa06d3014798d86001c324468d497f")
