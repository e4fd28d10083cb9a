"""The environment of an operator (contract, section 5)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from gateway.executors import shared
from gateway.executors.images import Program
from gateway.executors.interpreter import search_path
from gateway.jobs.executor import JobRun
from gateway.pipelines.layout import results_path
from gateway.pipelines.model import Operator

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip


def environment(
    run: JobRun,
    operator: Operator,
    program: Program,
    gpus: Sequence[str],
    connections: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Every variable that the operator sees; nothing of the gateway's own environment is in it.

    Later ones win: ours, the image's, the definition's, those of its ``connections``, those of the
    contract.
    """
    return {
        **base(operator.requests.cpu),
        **program.env,
        **operator.variables,
        **_devices(gpus),
        **(connections or {}),
        **_contract(run, operator),
    }


def base(cpu: float) -> dict[str, str]:
    """What every sandboxed program is told that was given ``cpu`` cores."""
    return {
        "PATH": search_path(),
        "HOME": "/tmp",  # noqa: S108 - inside the sandbox
        "TMPDIR": "/tmp",  # noqa: S108
        "USER": "operator",
        "LANG": "C.UTF-8",
        # Log lines must arrive while the operator runs, and its folders are read-only.
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **_threads(cpu),
    }


def mounts(entries: Iterable[tuple[str | None, str]]) -> str:
    """``name:path`` entries joined by ``;``; no name = the last component of the path."""
    return ";".join(f"{name or PurePosixPath(path).name}:{path}" for name, path in entries)


def _contract(run: JobRun, operator: Operator) -> Mapping[str, str]:
    return {
        "NVIDIA_CLARA_INPUTPATHS": mounts((i.name, i.path) for i in operator.inputs),
        "NVIDIA_CLARA_OUTPUTPATHS": mounts((o.name, o.path) for o in operator.outputs),
        "NVIDIA_CLARA_JOBID": run.job_id,
        "NVIDIA_CLARA_JOBNAME": run.name,
        "NVIDIA_CLARA_PAYLOADID": run.payload_id,
        "NVIDIA_CLARA_STAGENAME": operator.name,
        "NVIDIA_CLARA_RESULTS": results_path(operator),
        # Objects of one attempt must not bear the UIDs of another that was delivered already.
        "GATEWAY_JOB_ATTEMPT": str(run.attempt),
        # Clara's driver library would wait for Clara's own orchestrator.
        "NVIDIA_CLARA_NOSYNCLOCK": "TRUE",
        **shared.variables(operator),
    }


def _threads(cpu: float) -> Mapping[str, str]:
    """Libraries start one thread per core of the machine unless told what was asked for."""
    cores = min(max(1, math.ceil(cpu)), os.cpu_count() or 1)
    return dict.fromkeys(_THREADS, str(cores))


def _devices(gpus: Sequence[str]) -> Mapping[str, str]:
    text = ",".join(gpus)
    return {"NVIDIA_VISIBLE_DEVICES": text or "void", "CUDA_VISIBLE_DEVICES": text}
