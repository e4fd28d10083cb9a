"""What the machine has and what a job needs of it."""

from __future__ import annotations

import pytest

from gateway.config.settings import ResourceSettings
from gateway.jobs.ledger import Capacity, Need, NeverFits
from gateway.pipelines.model import Requests


def test_what_can_never_fit_is_named() -> None:
    machine = Capacity(2, 1000, (0,))
    assert machine.admit(Requests(16, 1000, 1)) == Need(2, 1000, 1)
    with pytest.raises(NeverFits, match="needs 1001 MB of memory at once, the machine has 1000"):
        machine.admit(Requests(1, 1001, 0))
    with pytest.raises(NeverFits, match="needs 2 GPUs at once, the machine has 1"):
        machine.admit(Requests(1, 1, 2), missing_gpu="cpu")


def test_a_machine_without_gpus_may_run_on_the_cpu() -> None:
    bare = Capacity(2, 1000)
    with pytest.raises(NeverFits):
        bare.admit(Requests(1, 1, 1))
    assert bare.admit(Requests(1, 1, 1), missing_gpu="cpu").gpus == 0


def test_capacity_of_this_machine_and_of_the_settings() -> None:
    machine = Capacity.of_machine(ResourceSettings(), [0, 2])
    assert machine.cpu >= 1
    assert machine.memory_mb > 100
    assert machine.gpus == (0, 2)
    told = Capacity.of_machine(ResourceSettings(cpu=1.5, memory_mb=9, gpus=3), [0])
    assert told == Capacity(1.5, 9, (0, 1, 2))
