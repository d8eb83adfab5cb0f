import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from gently.visualization.contrast import Window, statistics, to_8bit
from storage import VolumeRecord, VolumeStore, new_uid
from tests.visualization.specimen import embryo, keep

PIXELS = embryo((6, 40, 50))
MISSING = "0123456789abcdef" * 2


@pytest.fixture
def record(store: VolumeStore) -> VolumeRecord:
    return keep(store, PIXELS, plan_name="acquire_volume", session_id="monday")


def picture(client: TestClient, uid: str, **query: object) -> NDArray[Any]:
    response = client.get(f"/api/images/{uid}", params={k: str(v) for k, v in query.items()})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


class TestList:
    def test_volumes_are_listed_newest_first_with_their_metadata(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        records = [keep(store, PIXELS[:1], plan_name=f"plan {n}") for n in range(3)]

        body = client.get("/api/volumes").json()

        assert body == {"volumes": [record.metadata() for record in reversed(records)]}

    def test_the_limit_keeps_the_newest(self, client: TestClient, store: VolumeStore) -> None:
        records = [keep(store, PIXELS[:1]) for _ in range(3)]

        volumes = client.get("/api/volumes?limit=2").json()["volumes"]

        assert [v["uid"] for v in volumes] == [records[2].uid, records[1].uid]

    def test_an_empty_store_has_an_empty_list(self, client: TestClient) -> None:
        assert client.get("/api/volumes").json() == {"volumes": []}

    def test_a_broken_file_does_not_hide_the_others(
        self, client: TestClient, store: VolumeStore, record: VolumeRecord
    ) -> None:
        store.path(new_uid()).write_bytes(b"not a volume")

        volumes = client.get("/api/volumes").json()["volumes"]

        assert [v["uid"] for v in volumes] == [record.uid]


class TestVolume:
    def test_metadata_comes_from_the_file(self, client: TestClient, record: VolumeRecord) -> None:
        response = client.get(f"/api/volumes/{record.uid}")

        assert response.json() == record.metadata()
        assert len(response.content) < 2048


class TestImages:
    def test_a_slice_is_drawn_in_the_window_asked_for(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        grey = picture(client, record.uid, z=2, low=150, high=400)

        np.testing.assert_array_equal(grey, to_8bit(PIXELS[2], Window(150, 400)))

    def test_without_a_query_it_is_the_middle_slice_in_automatic_contrast(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        grey = picture(client, record.uid)

        np.testing.assert_array_equal(grey, to_8bit(PIXELS[3], statistics(PIXELS).window))

    def test_the_first_slice_is_not_taken_for_none(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        grey = picture(client, record.uid, z=0, low=0, high=400)

        np.testing.assert_array_equal(grey, to_8bit(PIXELS[0], Window(0, 400)))

    @pytest.mark.parametrize(("plane", "axis"), [("xy", 0), ("xz", 1), ("yz", 2)])
    def test_a_projection_is_the_maximum_over_all_slices(
        self, client: TestClient, record: VolumeRecord, plane: str, axis: int
    ) -> None:
        grey = picture(client, record.uid, projection=plane, low=100, high=900)

        maximum = PIXELS.max(axis=axis)
        expected = maximum.T if plane == "yz" else maximum
        np.testing.assert_array_equal(grey, to_8bit(expected, Window(100, 900)))

    def test_the_histogram_proposes_the_window_that_is_used(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        body = client.get(f"/api/images/{record.uid}/histogram").json()

        assert body["uid"] == record.uid
        assert sum(body["counts"]) == body["sampled"] == PIXELS.size
        assert (body["minimum"], body["maximum"]) == (PIXELS.min(), PIXELS.max())
        np.testing.assert_array_equal(
            picture(client, record.uid, z=1, **body["window"]), picture(client, record.uid, z=1)
        )


class TestCaching:
    def test_a_picture_that_is_fully_named_never_changes(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        address = f"/api/images/{record.uid}?z=1&low=100&high=300"

        assert "immutable" in client.get(address).headers["cache-control"]

    def test_a_picture_whose_contrast_is_left_open_is_asked_for_again(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        headers = client.get(f"/api/images/{record.uid}?z=1").headers

        assert headers["cache-control"] == "private, no-cache"

    def test_what_the_browser_has_is_not_sent_again(
        self, client: TestClient, record: VolumeRecord
    ) -> None:
        address = f"/api/images/{record.uid}?projection=xz"
        etag = client.get(address).headers["etag"]

        again = client.get(address, headers={"if-none-match": etag})

        assert (again.status_code, again.content) == (304, b"")

    def test_every_picture_has_its_own_tag(self, client: TestClient, record: VolumeRecord) -> None:
        queries = ["", "z=1", "z=1&low=1", "z=1&high=9999", "projection=xy", "projection=yz"]
        queries += [f"z=1&low=0&high={high}" for high in (1_000_000, 1_000_001, 1_000_000.5)]

        tags = {client.get(f"/api/images/{record.uid}?{q}").headers["etag"] for q in queries}

        assert len(tags) == len(queries)


NO_UIDS = ["secret", "..%2Fsecret", "%2Fetc%2Fpasswd", "..%5Csecret", "a" * 33, "A" * 32, "%00"]

REFUSED_QUERIES = {
    "z over the end": ("images/{uid}?z=6", "z", "0 to 5"),
    "negative z": ("images/{uid}?z=-1", "z", "greater than or equal to 0"),
    "z in words": ("images/{uid}?z=middle", "z", "middle"),
    "empty z": ("images/{uid}?z=", "z", "integer"),
    "unknown projection": ("images/{uid}?projection=zx", "projection", "'xy', 'xz' or 'yz'"),
    "slice of a projection": ("images/{uid}?projection=xy&z=1", "z", "not both"),
    "empty window": ("images/{uid}?low=300&high=300", "low", "below high"),
    "low that is no number": ("images/{uid}?low=nan", "low", "finite"),
    "high without end": ("images/{uid}?high=inf", "high", "finite"),
    "misspelt name": ("images/{uid}?zz=1", "zz", "not permitted"),
    "limit of nothing": ("volumes?limit=0", "limit", "greater than or equal to 1"),
    "limit too large": ("volumes?limit=100000", "limit", "less than or equal to 1000"),
}


class TestRefusals:
    @pytest.mark.parametrize(
        ("address", "field", "says"), REFUSED_QUERIES.values(), ids=REFUSED_QUERIES.keys()
    )
    def test_a_wrong_query_is_told_the_field_and_the_range(
        self, client: TestClient, record: VolumeRecord, address: str, field: str, says: str
    ) -> None:
        response = client.get(f"/api/{address.format(uid=record.uid)}")

        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert error["field"] == field
        assert says in error["message"]
        assert says in response.json()["detail"]

    @pytest.mark.parametrize("path", ["volumes/{}", "images/{}", "images/{}/histogram"])
    def test_a_uid_that_no_volume_has_is_not_found(self, client: TestClient, path: str) -> None:
        response = client.get(f"/api/{path.format(MISSING)}")

        assert response.status_code == 404
        assert MISSING in response.json()["detail"]

    @pytest.mark.parametrize("path", ["volumes/{}", "images/{}", "images/{}/histogram"])
    @pytest.mark.parametrize("uid", NO_UIDS)
    def test_a_path_in_place_of_a_uid_never_reaches_the_file_system(
        self, client: TestClient, store: VolumeStore, path: str, uid: str
    ) -> None:
        (store.root / "secret.tif").write_bytes(b"secret")

        response = client.get(f"/api/{path.format(uid)}")

        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "uid"
        assert "hexadecimal" in response.json()["detail"]

    def test_a_broken_volume_says_what_is_wrong_with_it(
        self, client: TestClient, store: VolumeStore
    ) -> None:
        uid = new_uid()
        store.path(uid).write_bytes(b"not a volume")

        response = client.get(f"/api/images/{uid}")

        assert response.status_code == 500
        assert uid in response.json()["detail"]

    def test_an_unknown_address_is_refused_in_json(self, client: TestClient) -> None:
        response = client.get("/api/nothing")

        assert response.status_code == 404
        assert response.json() == {"detail": "Not Found"}

    def test_nothing_can_be_changed(self, client: TestClient, record: VolumeRecord) -> None:
        for method in ("POST", "PUT", "DELETE"):
            response = client.request(method, f"/api/volumes/{record.uid}")
            assert response.status_code == 405

    def test_a_foreign_name_for_this_machine_is_turned_away(self, client: TestClient) -> None:
        assert client.get("/api/volumes", headers={"host": "evil.example"}).status_code == 400


class TestPage:
    def test_the_page_is_served_with_its_modules(self, client: TestClient) -> None:
        page = client.get("/")

        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name, kind in [("main.js", "text/javascript"), ("style.css", "text/css")]:
            assert f"/static/{name}" in page.text
            assert client.get(f"/static/{name}").headers["content-type"].startswith(kind)

    def test_only_the_pages_own_files_are_served(self, client: TestClient) -> None:
        for name in ("nothing.js", "../server.py", "..%2Fserver.py"):
            assert client.get(f"/static/{name}").status_code == 404

    def test_the_page_takes_nothing_from_elsewhere(self) -> None:
        static = Path(__file__).parents[2] / "gently" / "visualization" / "static"
        for file in static.iterdir():
            text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "//" not in text.replace("// ", "").replace("//\n", ""), file.name
