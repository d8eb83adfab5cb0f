"""What a real RunEngine emits for a volume: the form that tiled's writer takes as it stands."""

from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import FailedStatus
from event_model import DocumentNames, schema_validators

from devices import VolumeRequest
from tests.devices.demo import Bench

Documents = list[tuple[str, dict[str, Any]]]


def take(bench: Bench, run_engine: Any) -> Documents:
    """Take one volume in a run, and return its documents."""
    documents: Documents = []

    @bpp.stage_decorator([bench.sheet])  # type: ignore[untyped-decorator]
    @bpp.run_decorator()  # type: ignore[untyped-decorator]
    def plan() -> Any:
        request = VolumeRequest(num_slices=3, exposure_ms=1, step_um=1)
        yield from bps.prepare(bench.sheet, request, wait=True)
        yield from bps.trigger_and_read([bench.sheet, bench.stage])

    run_engine(plan(), lambda name, document: documents.append((name, document)))
    return documents


def named(documents: Documents, name: str) -> list[dict[str, Any]]:
    return [document for found, document in documents if found == name]


def test_every_document_is_valid(bench: Bench, run_engine: Any) -> None:
    documents = take(bench, run_engine)
    for name, document in documents:
        schema_validators[DocumentNames[name]].validate(document)
    assert [name for name, _ in documents] == [
        "start",
        "descriptor",
        "stream_resource",
        "stream_datum",
        "event",
        "stop",
    ]
    assert named(documents, "stop")[0]["exit_status"] == "success"


def test_the_resource_names_the_folder_as_a_uri_and_the_file_by_its_literal_uid(
    bench: Bench, run_engine: Any, tmp_path: Path
) -> None:
    documents = take(bench, run_engine)
    (resource,) = named(documents, "stream_resource")
    assert bench.sheet.published
    assert resource["mimetype"] == "multipart/related;type=image/tiff"
    assert resource["uri"] == tmp_path.as_uri().replace("file:///", "file://localhost/") + "/"
    assert resource["parameters"] == {
        "template": f"{bench.sheet.published['a'].uid}.tif",
        "chunk_shape": [1, 3, 512, 512],
        "join_method": "stack",
    }
    assert resource["data_key"] == "light_sheet"


def test_the_datum_has_one_index_for_its_event_and_belongs_to_the_streams_descriptor(
    bench: Bench, run_engine: Any
) -> None:
    documents = take(bench, run_engine)
    (descriptor,) = named(documents, "descriptor")
    (resource,) = named(documents, "stream_resource")
    (datum,) = named(documents, "stream_datum")
    (event,) = named(documents, "event")
    assert datum["stream_resource"] == resource["uid"]
    assert datum["descriptor"] == descriptor["uid"] == event["descriptor"]
    assert datum["indices"] == {"start": 0, "stop": 1}
    assert event["seq_num"] == 1


def test_the_volume_is_described_as_external_and_no_pixel_is_in_the_event(
    bench: Bench, run_engine: Any
) -> None:
    documents = take(bench, run_engine)
    key = named(documents, "descriptor")[0]["data_keys"]["light_sheet"]
    assert (key["external"], key["dtype"], key["dtype_numpy"]) == ("STREAM:", "array", "<u2")
    assert key["shape"] == [3, 512, 512]
    data = named(documents, "event")[0]["data"]
    assert "light_sheet" not in data
    assert data["light_sheet_exposure"] == 1
    assert {"xy_stage_x", "xy_stage_y"} <= set(data)
    assert data["light_sheet_uid"] == bench.sheet.published["a"].uid


def test_each_run_has_one_resource_of_its_own(bench: Bench, run_engine: Any) -> None:
    runs = [take(bench, run_engine) for _ in range(3)]
    resources = [named(documents, "stream_resource") for documents in runs]
    assert [len(found) for found in resources] == [1, 1, 1]
    assert len({found[0]["parameters"]["template"] for found in resources}) == 3
    for documents, (resource,) in zip(runs, resources, strict=True):
        assert resource["run_start"] == named(documents, "start")[0]["uid"]


def test_a_volume_that_fails_ends_its_run_as_failed_without_a_resource(
    bench: Bench, run_engine: Any
) -> None:
    def fail(index: int) -> None:
        raise OSError("the disk is gone")

    bench.shelf.on_write = fail
    documents: Documents = []

    @bpp.stage_decorator([bench.sheet])  # type: ignore[untyped-decorator]
    @bpp.run_decorator()  # type: ignore[untyped-decorator]
    def plan() -> Any:
        request = VolumeRequest(num_slices=3, exposure_ms=1, step_um=1)
        yield from bps.prepare(bench.sheet, request, wait=True)
        yield from bps.trigger_and_read([bench.sheet])

    with pytest.raises(FailedStatus):
        run_engine(plan(), lambda name, document: documents.append((name, document)))
    assert [name for name, _ in documents] == ["start", "stop"]
    assert named(documents, "stop")[0]["exit_status"] == "fail"
    assert not bench.is_lit
