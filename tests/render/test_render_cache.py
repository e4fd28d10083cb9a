"""The cache is bounded, can be lost at any time, and outlives no payload."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import nibabel
import numpy as np
import pytest

from gateway.demo.phantom import Series
from gateway.render.cache import Cache
from gateway.render.errors import NoDataset, Unreadable
from tests.render.conftest import WAIT, World
from tests.support.deliveries import wait_until


def folders(world: World) -> list[Path]:
    """What is kept, when nothing is being made any more."""
    root = world.house.data_dir / "render"
    wait_until(lambda: not any(path.name.startswith(".") for path in root.iterdir()))
    return sorted(root.iterdir())


def test_what_was_made_is_kept_and_made_again_when_it_is_lost(world: World, series: Series) -> None:
    job = world.job(series=series)
    found = world.of_job(job)
    (volume,) = found.volumes
    first = world.cache.whole(found, volume, WAIT)
    (folder,) = folders(world)
    assert folder.name.startswith(f"{job}.")
    made = (folder / "level-1.nii").stat().st_mtime_ns
    assert world.cache.whole(found, volume, WAIT) == first
    assert (folder / "level-1.nii").stat().st_mtime_ns == made
    # A level alone, then everything.
    (folder / "level-1.nii").unlink()
    assert world.cache.level(found, volume, "level-1.nii", WAIT).is_file()
    shutil.rmtree(folder)
    assert world.cache.whole(found, volume, WAIT) == first
    # Nothing else is left behind.
    assert folders(world) == [folder]


def test_a_changed_file_is_another_volume(world: World) -> None:
    job = world.job()
    path = world.output(job) / "a.nii"
    for number in (1, 2):
        values = np.full((3, 3, 3), number, np.uint8)
        nibabel.Nifti1Image(values, np.eye(4)).to_filename(path)
        found = world.of_job(job)
        image, _ = world.load(found, found.volumes[0])
        assert np.asarray(image.dataobj).max() == number
        path.unlink()


def test_many_ask_and_it_is_made_once(world: World, series: Series) -> None:
    found = world.of_job(world.job(series=series))
    (volume,) = found.volumes
    told: list[object] = []

    def ask() -> None:
        told.append(world.cache.whole(found, volume, WAIT)["shape"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert told == [[32, 32, 12]] * 6
    assert len(folders(world)) == 1


def test_the_oldest_go_first_and_deleted_payloads_at_once(world: World, series: Series) -> None:
    small = Cache(world.house.data_dir, most=30_000)
    found = [world.of_job(world.job(series=series)) for _ in range(2)]
    for one in found:
        small.whole(one, one.volumes[0], WAIT)
    small.tidy()
    assert [path.name[:32] for path in folders(world)] == [found[1].payload_id]
    shutil.rmtree(found[1].payload)
    small.tidy()
    assert folders(world) == []
    with pytest.raises(NoDataset):
        world.datasets.get(found[1].id)


def test_what_is_no_volume_is_said_and_not_tried_again_and_again(world: World) -> None:
    job = world.job()
    (world.output(job) / "a.nii.gz").write_bytes(b"no volume at all")
    found = world.of_job(job)
    for _ in range(2):
        with pytest.raises(Unreadable, match="UNREADABLE"):
            world.cache.whole(found, found.volumes[0], WAIT)
    assert folders(world) == []
