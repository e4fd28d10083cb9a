"""The long forms: an API server that is away, a node that is gone, a full disk, a flood of logs."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.executors.logfile import MAX_BYTES
from gateway.jobs.executor import End, Stop
from tests.support.kube import Kube, running_cluster, step, until

pytestmark = [pytest.mark.peers, pytest.mark.prove]

AWAY_SECONDS = 60


@pytest.fixture
def engine(kube: Kube, waiter_program: Path, tmp_path: Path) -> Iterator[Any]:
    made = []

    def make(data: Path = tmp_path, **settings: Any) -> KubernetesExecutor:
        told = {
            "kubeconfig": kube.kubeconfig, "host_path": str(data), "waiter": waiter_program,
        } | settings  # fmt: skip
        made.append(KubernetesExecutor(KubernetesSettings(**told), data))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_prove_kubernetes_api_server_away(start: Any, engine: Any, kube: Kube) -> None:
    job = start(
        step("one", "for i in $(seq 90); do echo $i; sleep 1; done; echo > /output/x")
        + step("two", "echo > /output/y", source="one"),
        executor=engine(),
    )
    until(lambda: "\n" in job.log("one"))
    (before,) = kube.pods(f"gateway/job={job.run.job_id}")
    with kube.without_api_server():
        time.sleep(AWAY_SECONDS)
        assert not job.handle.done()
    report = job.wait(180)
    ends = {name: end.end for name, end in report.ends.items()}
    assert ends == {"one": End.COMPLETED, "two": End.COMPLETED}, report.ends
    assert job.log("one").split() == [str(i) for i in range(1, 91)], "each line, and once"
    assert before.metadata.name.endswith("-1")
    assert kube.pods(f"gateway/job={job.run.job_id}") == []


def test_prove_kubernetes_cancelled_while_api_server_is_away(
    start: Any, engine: Any, kube: Kube
) -> None:
    job = start(step("one", "echo up; sleep 600"), executor=engine())
    until(lambda: job.log("one"))
    with kube.without_api_server():
        job.handle.stop(Stop.CANCEL)
        time.sleep(10)
        assert not job.handle.done(), "nobody can tell that its Pod has ended"
    assert job.wait(120).ends["one"].end is End.STOPPED
    assert kube.pods(f"gateway/job={job.run.job_id}") == []


def test_prove_kubernetes_node_gone(start: Any, engine: Any, kube: Kube) -> None:
    executor = engine(node_lost_seconds=2, node_selector={"kubernetes.io/hostname": "node-1"})
    job = start(step("one", "echo up; sleep 600; echo > /output/x"), executor=executor)
    until(lambda: job.log("one"))
    with kube.without_node():
        report = job.wait(180)
        assert report.ends["one"].end is End.LOST, report.ends
        print(f"node gone: {report.ends['one'].reason}")  # noqa: T201
        again = start(
            step("one", "echo > /output/x"),
            executor=executor, job_id=job.run.job_id, folder=job.run.folder, attempt=2,
        )  # fmt: skip
        until(lambda: again.report.notices)
        assert not again.report.started
    report = again.wait(180)
    assert report.ends["one"].end is End.COMPLETED, report.ends
    assert kube.pods(f"gateway/job={job.run.job_id}") == []


def test_prove_kubernetes_disk_full(start: Any, engine: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(disk)], check=True)
    try:
        # A node sees what was mounted before it began.
        with running_cluster("--kubelet") as own:
            job = start(
                step("one", "dd if=/dev/zero of=/output/x bs=1M"),
                executor=engine(disk, kubeconfig=own.kubeconfig), folder=disk / "payloads" / "p",
            )  # fmt: skip
            end = job.wait(120).ends["one"]
            assert (end.end, "disk" in end.reason) == (End.EXIT_CODE, True), end
            assert os.statvfs(disk).f_bavail > 4096, "what it wrote is gone"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_prove_kubernetes_gigabyte_of_logs(start: Any, engine: Any) -> None:
    line = "0123456789" * 12
    script = f"yes {line} | head -c 1000000000; echo; echo last; echo > /output/x"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    job = start(step("one", script), executor=engine())
    report = job.wait(600)
    assert report.ends["one"].end is End.COMPLETED, report.ends
    size = job.run.logs["one"].stat().st_size
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    took = time.monotonic() - begin
    print(f"1 GB of logs: {took:.0f} s, {size >> 20} MB kept, +{grown:.0f} MB")  # noqa: T201
    assert size <= MAX_BYTES + 200
    assert grown < 64


def test_prove_kubernetes_six_operators_cost_one_start(start: Any, engine: Any) -> None:
    def seconds(count: int) -> float:
        operators = "".join(
            step(f"o{i}", "echo > /output/x", source=f"o{i - 1}" if i else None)
            for i in range(count)
        )
        begin = time.time()
        job = start(operators, executor=executor)
        report = job.wait(120)
        assert all(end.end is End.COMPLETED for end in report.ends.values()), report.ends
        return max(report.stopped.values()) - begin

    executor = engine()
    seconds(1)
    ones, sixes = zip(*((seconds(1), seconds(6)) for _ in range(5)), strict=True)
    one, six = sorted(ones)[2], sorted(sixes)[2]
    figures = f"1 operator {one:.2f} s, 6 operators {six:.2f} s"
    print(f"start to the last operator's end, median of 5: {figures}")  # noqa: T201
    assert six < 2 * one + 1
