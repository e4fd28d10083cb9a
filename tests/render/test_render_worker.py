"""The agent ``renderserver``: DELIVERED when it can be seen, FAILED with the reason otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.demo.phantom import Series
from gateway.events.wake import Topic, Wakeups
from gateway.render.worker import RenderWorker
from tests.render.conftest import World, segmentation
from tests.support.deliveries import wait_until


@contextmanager
def rendering(world: World) -> Iterator[Wakeups]:
    wakeups = Wakeups()
    worker = RenderWorker(world.house.database, wakeups, world.datasets, world.cache)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield wakeups
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def ended(world: World, result: str) -> str:
    wait_until(lambda: world.house.result(result).state in {"DELIVERED", "FAILED"})
    return str(world.house.result(result).state)


def test_registered_results_are_made_and_delivered(world: World, series: Series) -> None:
    job = world.job(series=series)
    segmentation(series, world.output(job) / "seg.dcm")
    (result,) = world.house.register(job, None, agent="RenderServer")
    with rendering(world):
        assert ended(world, result) == "DELIVERED"
        assert [row.state for row in world.house.files(result)] == ["SENT"]
        # Labels alone bring the images that they lie over.
        found = world.datasets.get(f"r{result}")
        assert [one.role for one in found.volumes] == ["image", "label"]
        assert len(list((world.house.data_dir / "render").glob("[0-9a-f]*"))) == 2
        assert [one["id"] for one in world.datasets.listed(10)] == [f"r{result}"]


def test_what_cannot_be_seen_fails_with_the_reason(world: World) -> None:
    bad, empty = world.job(), world.job()
    (world.output(bad) / "a.nii.gz").write_bytes(b"no volume")
    (world.output(empty) / "report.txt").write_text("text")
    results = [world.house.register(job, None, agent="renderserver")[0] for job in (bad, empty)]
    with rendering(world) as wakeups:
        wakeups.notify(Topic.RESULTS)
        assert [ended(world, one) for one in results] == ["FAILED", "FAILED"]
    reasons = [world.house.result(one).reason for one in results]
    assert "UNREADABLE" in reasons[0]
    assert "Nothing here can be shown" in reasons[1]
    assert [row.state for row in world.house.files(results[1])] == ["FAILED"]
