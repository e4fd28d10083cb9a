"""``/api/v1/datasets…``: volumes in ranges, and key images whose colours are on the right side."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from gateway.demo.phantom import Series
from gateway.web.application import create_app
from gateway.web.server import HttpServer
from tests.render.conftest import World, segmentation
from tests.web.conftest import services


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    given = services(world.house.data_dir, world.house.database, [])
    server = HttpServer(create_app(given), "127.0.0.1", 0)
    server.start()
    try:
        base = f"http://127.0.0.1:{server.port}/api/v1/datasets"
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as found:
            yield found
    finally:
        server.stop()


def test_from_the_list_to_the_voxels(world: World, client: httpx.Client, series: Series) -> None:
    job = world.job(series=series)
    segmentation(series, world.output(job) / "seg.dcm")
    (result,) = world.house.register(job, None, agent="renderserver")
    (item,) = client.get(str(client.base_url).rstrip("/")).json()["items"]
    assert (item["id"], item["job_id"], item["state"]) == (f"r{result}", job, "PENDING")
    found = client.get(f"/{item['id']}").json()
    image, label = found["volumes"]
    assert label["over"] == [image["id"]]
    assert image["over"] == []
    place = f"/{item['id']}/volumes/{image['id']}"
    manifest = client.get(place).json()
    assert manifest["modality"] == "CT"
    level = f"{place}/levels/{manifest['levels'][-1]['file']}"
    whole = client.get(level)
    assert len(whole.content) == 352 + 2 * 32 * 32 * 12
    part = client.get(level, headers={"Range": "bytes=344-347"})
    assert (part.status_code, part.content) == (206, b"n+1\0")
    again = client.get(level, headers={"If-None-Match": whole.headers["etag"]})
    assert again.status_code == 304
    for bad in (f"{place}/levels/..%2Fvolume.json", f"{place}/levels/volume.json",
                f"/{item['id']}/volumes/v{'0' * 16}", f"/j{'0' * 32}"):  # fmt: skip
        answer = client.get(bad)
        assert answer.status_code == 404, bad
        assert answer.headers["content-type"] == "application/problem+json"


def test_key_images(world: World, client: httpx.Client, series: Series) -> None:
    job = world.job(series=series)
    segmentation(series, world.output(job) / "seg.dcm")
    image = client.get(f"/j{job}").json()["volumes"][0]["id"]
    place = f"/j{job}/volumes/{image}/picture"
    answer = client.get(place, params={"plane": "axial", "window": "lung", "size": 320})
    assert answer.headers["content-type"] == "image/png"
    assert client.get(place, params={"size": 320}).headers["etag"] != answer.headers["etag"]
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=int)
    assert picture.shape == (320, 320, 3)
    red = picture[..., 0] - picture[..., 1] > 40
    green = picture[..., 1] - picture[..., 0] > 40
    # The first box is the patient's right: on the left of the picture, and a little to the front.
    columns = [np.nonzero(mask)[1].mean() / 320 for mask in (red, green)]
    assert columns == pytest.approx([0.25, 0.75], abs=0.03)
    assert np.nonzero(red)[0].mean() / 320 == pytest.approx(15 / 32, abs=0.03)
    plain = client.get(place, params={"plane": "axial", "size": 320, "overlay": False})
    grey = np.asarray(Image.open(io.BytesIO(plain.content)), dtype=int)
    assert np.ptp(grey, axis=2).max() == 0
    for plane in ("coronal", "sagittal"):
        other = client.get(place, params={"plane": plane, "window": "bone"})
        assert max(Image.open(io.BytesIO(other.content)).size) == 512
    assert client.get(place, params={"plane": "odd"}).status_code == 422
    assert client.get(place, params={"size": 100_000}).status_code == 422


def test_what_is_no_volume_is_said(world: World, client: httpx.Client) -> None:
    job = world.job()
    (world.output(job) / "a.nii").write_bytes(b"nothing")
    volume = client.get(f"/j{job}").json()["volumes"][0]["id"]
    answer = client.get(f"/j{job}/volumes/{volume}")
    assert answer.status_code == 422
    assert "cannot be shown" in answer.json()["detail"]
