"""What a volume may be asked for, and what its record tells."""

import json
import math

import pytest
from pydantic import ValidationError

from storage import FrameInfo, InvalidUidError, VolumeStore, new_uid
from tests.storage.helpers import make_spec, write_volume


def test_a_uid_is_32_lower_case_hexadecimal_characters_and_never_the_same() -> None:
    uids = {new_uid() for _ in range(100)}
    assert len(uids) == 100
    assert all(len(uid) == 32 and set(uid) <= set("0123456789abcdef") for uid in uids)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uid", "../../etc/passwd"),
        ("uid", "0" * 31),
        ("uid", "0" * 32 + "\n"),
        ("shape", (0, 4, 4)),
        ("shape", (4, 4)),
        ("shape", (1, 4, 2_000_000)),
        ("dtype", "uint32"),
        ("pixel_size_um", 0),
        ("pixel_size_um", math.nan),
        ("step_um", -0.1),
        ("step_um", math.inf),
        ("exposure_ms", -1),
        ("session_id", "two\nlines"),
        ("plan_name", "x" * 201),
        ("positions_um", {"xy_stage.x": math.nan}),
        ("metadata", {"when": math.inf}),
        ("metadata", {"object": object()}),
        ("metadata", {"long": "x" * 2_000_000}),
        ("metadata", {"half a character": "\ud800"}),
        ("unknown", 1),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        make_spec(**{field: value})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


def test_a_frame_without_a_finite_time_or_place_is_refused() -> None:
    with pytest.raises(ValueError, match="delta_t_s of frame 3 is nan"):
        FrameInfo(index=3, delta_t_s=math.nan, z_um=0)
    with pytest.raises(ValueError, match="z_um of frame 3 is -inf"):
        FrameInfo(index=3, delta_t_s=0, z_um=-math.inf)


def test_a_path_in_place_of_a_uid_never_reaches_the_file_system(store: VolumeStore) -> None:
    for uid in ("../secret", "/etc/passwd", "a" * 31 + "/", "A" * 32, "", "0" * 32 + "\n"):
        with pytest.raises(InvalidUidError, match="is not a UID"):
            store.path(uid)


def test_the_planes_are_where_the_first_device_with_that_axis_was() -> None:
    spec = make_spec(positions_um={"focus": 1, "stage.x": 2, "scanner.x": 3})
    assert spec.start_um("x") == 2
    assert spec.start_um("y") is None


def test_the_metadata_of_a_large_volume_is_as_short_as_that_of_a_small_one(
    store: VolumeStore,
) -> None:
    notes = {"notes": "x" * 5000}
    small = write_volume(store, make_spec(shape=(1, 4, 4), metadata=notes)).metadata()
    large = write_volume(store, make_spec(shape=(900, 4, 4), metadata=notes)).metadata()
    assert small.keys() == large.keys()
    assert len(json.dumps(large)) < 2048
    assert large["shape"] == [900, 4, 4]
    assert large["frames"] == 900
    assert large["bytes"] == 900 * 32
