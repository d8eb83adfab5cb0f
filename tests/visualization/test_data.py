"""Pixels as they are over HTTP: regions, projections, files, and a zarr that is nowhere on disk."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import yaozarrs
from numpy.typing import NDArray
from starlette.testclient import TestClient

from gently.visualization import images
from gently.visualization.contrast import Window, to_8bit
from gently.visualization.projections import Projections, project
from storage import Shape, VolumeRecord, VolumeStore, new_uid
from tests.visualization.specimen import embryo, keep
from tests.visualization.test_server import MISSING, NO_UIDS, picture

PIXELS = embryo((6, 40, 50))
VIEWER = {"origin": "https://viewer.example"}


@pytest.fixture
def record(store: VolumeStore) -> VolumeRecord:
    return keep(store, PIXELS, plan_name="acquire_volume")


@pytest.fixture
def tiled(store: VolumeStore) -> VolumeRecord:
    """A volume of more than one tile and level."""
    return keep(store, np.arange(3 * 1030 * 1100).reshape(3, 1030, 1100).astype(np.uint16))


def pixels(response: Any) -> NDArray[Any]:
    assert response.status_code == 200, response.text
    shape = tuple(map(int, response.headers["x-shape"].split(",")))
    dtype = np.dtype(response.headers["x-dtype"]).newbyteorder("<")
    return np.frombuffer(response.content, dtype).reshape(shape)


class TestRegions:
    @pytest.mark.parametrize(
        ("query", "region"),
        [
            ("", np.s_[:]),
            ("z=2:3", np.s_[2:3]),
            ("z=1:4&y=3:20&x=10:11", np.s_[1:4, 3:20, 10:11]),
            ("y=30:&x=:7", np.s_[:, 30:, :7]),
            ("z=:", np.s_[:]),
        ],
    )
    def test_a_region_comes_as_it_is_in_the_file(
        self, client: TestClient, record: VolumeRecord, query: str, region: Any
    ) -> None:
        response = client.get(f"/api/volumes/{record.uid}/roi?{query}")

        found = pixels(response)
        np.testing.assert_array_equal(found, PIXELS[region])
        assert int(response.headers["content-length"]) == found.nbytes
        assert "immutable" in response.headers["cache-control"]

    def test_a_large_region_comes_in_pieces_that_fit_together(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        large = embryo((7, 1024, 1100))
        record = keep(store, large)

        response = client.get(f"/api/volumes/{record.uid}/roi?y=1:")

        np.testing.assert_array_equal(pixels(response), large[:, 1:])

    @pytest.mark.parametrize("compression", ["none", "blosc-zstd"])
    def test_every_format_looks_the_same(
        self, client: TestClient, store: VolumeStore, record: VolumeRecord, compression: str
    ) -> None:
        other = keep(store, PIXELS, format="ome-zarr", compression=compression)

        for address in (
            "/api/volumes/{}/roi?z=1:3&y=7:",
            "/api/volumes/{}/projection?plane=yz",
            "/api/images/{}?z=2",
            "/api/images/{}?projection=xy",
            "/volumes/{}.zarr/0/c/1/0/0",
        ):
            found, expected = (client.get(address.format(r.uid)) for r in (other, record))
            assert found.status_code == 200
            assert found.content == expected.content

    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_every_type_of_pixel_is_told(
        self, client: TestClient, store: VolumeStore, dtype: str
    ) -> None:
        drawn = (PIXELS % 200).astype(dtype)
        record = keep(store, drawn)

        found = pixels(client.get(f"/api/volumes/{record.uid}/roi"))

        assert found.dtype == dtype
        np.testing.assert_array_equal(found, drawn)

    def test_the_size_of_a_region_can_be_asked_for_alone(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        address = f"/api/volumes/{record.uid}/roi?z=1:3"

        head = client.head(address)

        assert head.headers["x-shape"] == "2,40,50"
        assert head.headers == client.get(address).headers

    @pytest.mark.parametrize(
        ("query", "field", "says"),
        [
            ("z=4:9", "z", "z 0:6; 4:9 is not a part"),
            ("y=5:5", "y", "5:5"),
            ("x=9:3", "x", "9:3"),
            ("z=6:", "z", "6:6"),
            ("z=3", "z", "written a:b"),
            ("z=-2:", "z", "written a:b"),
            ("z=1:5:2", "z", "written a:b"),
            ("z=٣:٤", "z", "written a:b"),
            ("w=1:2", "w", "not permitted"),
        ],
    )
    def test_what_is_no_region_of_the_volume_is_refused(
        self, client: TestClient, record: VolumeRecord, query: str, field: str, says: str
    ) -> None:
        response = client.get(f"/api/volumes/{record.uid}/roi?{query}")

        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert error["field"] == field
        assert says in error["message"]

    def test_a_part_of_a_slice_is_drawn_too(self, client: TestClient, record: VolumeRecord) -> None:
        grey = picture(client, record.uid, z=1, y="5:20", x=":9", low=100, high=900)

        np.testing.assert_array_equal(grey, to_8bit(PIXELS[1, 5:20, :9], Window(100, 900)))

    @pytest.mark.parametrize(
        ("query", "field"), [("projection=xy&y=1:2", "y"), ("z=1&y=0:41", "y"), ("x=-1:3", "x")]
    )
    def test_a_part_that_cannot_be_drawn_is_refused(
        self, client: TestClient, record: VolumeRecord, query: str, field: str
    ) -> None:
        response = client.get(f"/api/images/{record.uid}?{query}")

        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == field


class TestProjections:
    @pytest.mark.parametrize(("plane", "axis"), [("xy", 0), ("xz", 1), ("yz", 2)])
    def test_a_projection_comes_in_counts(
        self, client: TestClient, record: VolumeRecord, plane: str, axis: int
    ) -> None:
        found = pixels(client.get(f"/api/volumes/{record.uid}/projection?plane={plane}"))

        maximum = PIXELS.max(axis=axis)
        np.testing.assert_array_equal(found, maximum.T if plane == "yz" else maximum)

    def test_all_who_ask_at_once_for_any_plane_share_one_reading_of_the_volume(
        self, client: TestClient, record: VolumeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        readings, go_on = [], threading.Event()

        def counted(shape: Shape, slices: Iterable[NDArray[Any]]) -> Projections:
            readings.append(shape)
            assert go_on.wait(10)
            return project(shape, slices)

        monkeypatch.setattr(images, "project", counted)
        addresses = [
            f"/api/{kind}"
            for plane in ("xy", "xz", "yz")
            for kind in (
                f"volumes/{record.uid}/projection?plane={plane}",
                f"images/{record.uid}?projection={plane}&low=0&high=9",
            )
        ]
        with ThreadPoolExecutor(len(addresses)) as threads:
            answers = threads.map(client.get, addresses)
            go_on.set()
            assert {answer.status_code for answer in answers} == {200}
        assert readings == [PIXELS.shape]

    def test_the_plane_has_to_be_named(self, client: TestClient, record: VolumeRecord) -> None:
        response = client.get(f"/api/volumes/{record.uid}/projection")

        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "plane"


class TestOriginal:
    def test_the_file_comes_byte_by_byte(self, client: TestClient, record: VolumeRecord) -> None:
        response = client.get(f"/volumes/{record.uid}.tif")

        assert response.content == record.path.read_bytes()
        assert response.headers["content-type"] == "image/tiff"
        assert response.headers["etag"] == f'"{record.checksum}"'

    def test_a_volume_that_is_no_tiff_says_where_it_can_be_read(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        record = keep(store, PIXELS, format="ome-zarr")

        response = client.get(f"/volumes/{record.uid}.tif")

        assert response.status_code == 404
        assert f"/volumes/{record.uid}.zarr" in response.json()["detail"]

    @pytest.mark.parametrize(
        ("asked", "part"), [("bytes=0-15", np.s_[:16]), ("bytes=-9", np.s_[-9:])]
    )
    def test_a_part_of_the_file_comes_alone(
        self, client: TestClient, record: VolumeRecord, asked: str, part: slice
    ) -> None:
        response = client.get(f"/volumes/{record.uid}.tif", headers={"range": asked})

        assert response.status_code == 206
        assert response.content == record.path.read_bytes()[part]

    def test_a_file_that_the_client_has_is_not_sent_again(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        tag = f'"{record.checksum}"'
        again = client.get(f"/volumes/{record.uid}.tif", headers={"if-none-match": tag})

        assert (again.status_code, again.content) == (304, b"")


class TestAcquisitions:
    def test_a_tile_is_that_of_its_volume_and_is_asked_for_again(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        uid = new_uid()
        record = keep(store, PIXELS, acquisition_uid=uid, time_point=2, channel="488")

        tile = client.get(f"/acquisitions/{uid}.zarr/0/c/2/0/3/0/0", headers=VIEWER)

        of_volume = client.get(f"/volumes/{record.uid}.zarr/0/c/3/0/0")
        assert tile.content == of_volume.content
        assert tile.headers["access-control-allow-origin"] == "*"
        assert "no-cache" in tile.headers["cache-control"]
        known = {"if-none-match": tile.headers["etag"]}
        again = client.get(f"/acquisitions/{uid}.zarr/0/c/2/0/3/0/0", headers=known)
        assert (again.status_code, again.content) == (304, b"")

    @pytest.mark.parametrize(
        "key",
        ["", "0", "9/zarr.json", "0/c/0/0/0/0/0", "0/c/2/1/0/0/0", "0/c/2/0/6/0/0", "0/c/2/0/0"],
    )
    def test_what_it_has_not_is_not_found(
        self, client: TestClient, store: VolumeStore, key: str
    ) -> None:
        uid = new_uid()
        keep(store, PIXELS, acquisition_uid=uid, time_point=2)

        assert client.get(f"/acquisitions/{uid}.zarr/{key}").status_code == 404

    def test_one_that_is_not_there_and_one_that_is_no_uid_are_told_apart(
        self, client: TestClient
    ) -> None:
        missing = client.get(f"/acquisitions/{MISSING}.zarr/zarr.json")
        assert missing.status_code == 404
        assert f"acquisition {MISSING}" in missing.json()["detail"]
        assert client.get("/acquisitions/lapse.zarr/zarr.json").status_code == 422

    def test_volumes_that_are_no_one_array_are_told_with_what_differs(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        uid = new_uid()
        for slices in (6, 5):
            keep(store, PIXELS[:slices], acquisition_uid=uid)

        response = client.get(f"/acquisitions/{uid}.zarr/zarr.json")

        assert response.status_code == 409
        assert "has shape (6, 40, 50)" in response.json()["detail"]

    def test_a_volume_that_is_published_meanwhile_is_seen_within_a_second(
        self, client: TestClient, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 5.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        uid = new_uid()
        keep(store, PIXELS, acquisition_uid=uid)
        url = f"/acquisitions/{uid}.zarr/0/zarr.json"
        assert client.get(url).json()["shape"] == [1, 1, 6, 40, 50]
        keep(store, PIXELS, acquisition_uid=uid, time_point=1)
        now = 6.0
        assert client.get(url).json()["shape"] == [2, 1, 6, 40, 50]


class TestZarr:
    def test_its_metadata_is_ome_zarr_to_another_reader(
        self, client: TestClient, tiled: VolumeRecord
    ) -> None:
        group = client.get(f"/volumes/{tiled.uid}.zarr/zarr.json")

        assert group.headers["content-type"] == "application/json"
        read: Any = yaozarrs.validate_ome_json(group.text)
        (multiscale,) = read.attributes.ome.multiscales
        assert [(axis.name, axis.unit) for axis in multiscale.axes] == [
            (name, "micrometer") for name in "zyx"
        ]
        assert [dataset.path for dataset in multiscale.datasets] == ["0", "1", "2", "3"]
        scale, translation = multiscale.datasets[1].coordinateTransformations
        assert scale.scale == [0.5, 0.325, 0.325]
        assert translation.translation == [0, 0.08125, 0.08125]

    def test_slices_between_which_nothing_moved_have_no_distance_in_space(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        record = keep(store, PIXELS, step_um=0)

        group = client.get(f"/volumes/{record.uid}.zarr/zarr.json")

        assert yaozarrs.validate_ome_json(group.text)
        (multiscale,) = group.json()["attributes"]["ome"]["multiscales"]
        assert multiscale["axes"][0] == {"name": "z", "type": "space"}

    def test_it_tells_what_is_known_of_the_volume_but_not_where_it_lies(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        group = client.get(f"/volumes/{record.uid}.zarr/zarr.json")

        ours = group.json()["attributes"]["gently"]
        assert VolumeRecord.model_validate({**ours["volume"], "path": record.path}) == record
        assert str(record.path.parent) not in group.text

    def test_each_arrays_own_metadata_is_the_one_that_the_group_repeats(
        self, client: TestClient, tiled: VolumeRecord
    ) -> None:
        root = f"/volumes/{tiled.uid}.zarr"
        group = client.get(f"{root}/zarr.json").json()

        for name, repeated in group["consolidated_metadata"]["metadata"].items():
            assert client.get(f"{root}/{name}/zarr.json").json() == repeated

    def test_a_chunk_is_a_tile_and_whole_at_the_edge_too(
        self, client: TestClient, store: VolumeStore, tiled: VolumeRecord
    ) -> None:
        response = client.get(f"/volumes/{tiled.uid}.zarr/0/c/2/1/1")

        tile = np.frombuffer(response.content, "<u2").reshape(1024, 1024)
        with store.open(tiled.uid) as volume:
            np.testing.assert_array_equal(tile[:6, :76], volume.array[2, 1024:, 1024:])
        assert not tile[6:].any()
        assert not tile[:, 76:].any()

    def test_a_coarse_tile_is_computed_once(
        self,
        client: TestClient,
        tiled: VolumeRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        opened, open_volume = [], VolumeStore.open

        def counted(self: VolumeStore, uid: str) -> Any:
            opened.append(uid)
            return open_volume(self, uid)

        monkeypatch.setattr(VolumeStore, "open", counted)
        first, second = (client.get(f"/volumes/{tiled.uid}.zarr/2/c/1/0/0") for _ in range(2))

        assert first.content == second.content
        assert opened == [tiled.uid]

    def test_its_size_is_known_without_reading_it(
        self, client: TestClient, tiled: VolumeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = f"/volumes/{tiled.uid}.zarr/1/c/0/0/0"
        whole = client.get(address)
        monkeypatch.delattr(VolumeStore, "open")

        head = client.head(address)

        assert head.headers == whole.headers
        assert int(head.headers["content-length"]) == len(whole.content)

    @pytest.mark.parametrize(
        "key",
        [
            *("", "zarr.json/", ".zarray", ".zgroup", ".zattrs", ".zmetadata", "0", "0/c"),
            *("4/zarr.json", "00/zarr.json", "0/c/0/0", "0/c/0/0/0/0", "0/c/3/0/0", "0/c/0/2/0"),
            *("0/c/0/0/2", "1/c/0/1/0", "0/c/00/0/0", "0/c/-1/0/0", "0/c/0/0/٠", "0.0.0"),
            *("../secret", "0/../../secret", "/etc/passwd", "..\\secret", "\0"),
        ],
    )
    def test_what_is_no_key_of_the_hierarchy_is_not_found(
        self, client: TestClient, store: VolumeStore, tiled: VolumeRecord, key: str
    ) -> None:
        (store.root / "secret").write_text("secret")
        (store.volumes / "secret").write_text("secret")

        response = client.get(f"/volumes/{tiled.uid}.zarr/{quote(key, safe='')}")

        assert response.status_code == 404
        assert "no key" in response.json()["detail"]

    @pytest.mark.parametrize("uid", NO_UIDS)
    @pytest.mark.parametrize("name", ["{}.zarr/zarr.json", "{}.zarr/0/c/0/0/0", "{}.tif"])
    def test_a_path_in_place_of_a_uid_never_reaches_the_file_system(
        self, client: TestClient, store: VolumeStore, uid: str, name: str
    ) -> None:
        (store.root / "secret.tif").write_bytes(b"secret")

        response = client.get(f"/volumes/{name.format(uid)}")

        assert response.status_code == 422
        assert "hexadecimal" in response.json()["detail"]

    @pytest.mark.parametrize("name", ["{}.zarr/zarr.json", "{}.zarr/0/c/0/0/0", "{}.tif"])
    def test_a_uid_that_no_volume_has_is_not_found(self, client: TestClient, name: str) -> None:
        response = client.get(f"/volumes/{name.format(MISSING)}")

        assert response.status_code == 404
        assert MISSING in response.json()["detail"]


class TestParts:
    @pytest.fixture
    def address(self, record: VolumeRecord) -> str:
        return f"/volumes/{record.uid}.zarr/0/c/3/0/0"

    @pytest.mark.parametrize(
        ("asked", "part"),
        [
            ("bytes=0-9", np.s_[0:10]),
            ("bytes=100-", np.s_[100:]),
            ("bytes=-7", np.s_[-7:]),
            ("bytes=3990-9999", np.s_[3990:]),
            ("bytes=-9999", np.s_[:]),
        ],
    )
    def test_a_part_comes_alone_and_says_where_it_is_from(
        self, client: TestClient, address: str, asked: str, part: slice
    ) -> None:
        response = client.get(address, headers={"range": asked})

        assert response.status_code == 206
        assert response.content == PIXELS[3].tobytes()[part]
        first, last, _ = part.indices(4000)
        assert response.headers["content-range"] == f"bytes {first}-{last - 1}/4000"

    @pytest.mark.parametrize("asked", ["bytes=4000-", "bytes=-0", "bytes=9000-9001"])
    def test_a_part_that_is_not_there_is_refused_with_the_size(
        self, client: TestClient, address: str, asked: str
    ) -> None:
        response = client.get(address, headers={"range": asked})

        assert response.status_code == 416
        assert response.headers["content-range"] == "bytes */4000"

    @pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "x"])
    def test_what_cannot_be_understood_is_answered_whole(
        self, client: TestClient, address: str, asked: str
    ) -> None:
        response = client.get(address, headers={"range": asked})

        assert response.status_code == 200
        assert response.content == PIXELS[3].tobytes()

    def test_a_part_of_something_else_is_answered_whole(
        self, client: TestClient, address: str
    ) -> None:
        headers = {"range": "bytes=0-9", "if-range": '"something-else"'}

        assert client.get(address, headers=headers).status_code == 200
        headers["if-range"] = client.head(address).headers["etag"]
        assert client.get(address, headers=headers).status_code == 206

    def test_chunks_never_change_and_metadata_is_asked_for_again(
        self, client: TestClient, address: str
    ) -> None:
        chunk = client.get(address)
        group = client.get(address.replace("0/c/3/0/0", "zarr.json"))

        assert "immutable" in chunk.headers["cache-control"]
        assert group.headers["cache-control"] == "private, no-cache"
        for answer in (chunk, group):
            headers = {"if-none-match": answer.headers["etag"]}
            assert client.get(str(answer.url), headers=headers).status_code == 304

    def test_every_chunk_has_its_own_tag(self, client: TestClient, tiled: VolumeRecord) -> None:
        root = f"/volumes/{tiled.uid}.zarr"
        keys = ["0/c/0/0/0", "0/c/1/0/0", "0/c/0/1/0", "0/c/0/0/1", "1/c/0/0/0", "zarr.json"]

        assert len({client.head(f"{root}/{key}").headers["etag"] for key in keys}) == len(keys)


class TestOtherSites:
    @pytest.mark.parametrize(
        "path", ["{}.zarr/zarr.json", "{}.zarr/0/c/0/0/0", "{}.tif", "{}.zarr/.zattrs"]
    )
    def test_a_viewer_of_another_site_may_read_a_volume_whose_uid_it_has(
        self, client: TestClient, record: VolumeRecord, path: str
    ) -> None:
        response = client.get(f"/volumes/{path.format(record.uid)}", headers=VIEWER)

        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers

    def test_it_may_ask_for_parts(self, client: TestClient, record: VolumeRecord) -> None:
        asks = {
            "access-control-request-method": "GET",
            "access-control-request-headers": "range",
            "access-control-request-private-network": "true",
        }
        allowed = client.options(f"/volumes/{record.uid}.zarr/0/c/0/0/0", headers=VIEWER | asks)

        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-private-network"] == "true"

    def test_it_may_change_nothing(self, client: TestClient, record: VolumeRecord) -> None:
        for method in ("PUT", "POST", "DELETE"):
            asks = {"access-control-request-method": method}
            address = f"/volumes/{record.uid}.zarr/0/c/0/0/0"
            assert client.options(address, headers=VIEWER | asks).status_code == 400
            assert client.request(method, address).status_code == 405

    @pytest.mark.parametrize("path", ["volumes", "volumes/{}", "images/{}", "volumes/{}/roi"])
    def test_it_is_told_of_no_other_volume(
        self, client: TestClient, record: VolumeRecord, path: str
    ) -> None:
        response = client.get(f"/api/{path.format(record.uid)}", headers=VIEWER)

        assert "access-control-allow-origin" not in response.headers
