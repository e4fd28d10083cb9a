"""What our objects are called on a cluster, and the labels they are found by.

Names are made of job ids and positions, so they never meet, say nothing of a patient, and are the
same whenever they are made: whoever makes a Pod again is told that it is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.pipelines.model import Definition, Operator

MANAGED, MANAGER = "app.kubernetes.io/managed-by", "clinical-imaging-gateway"
JOB, ATTEMPT, OWNER = "gateway/job", "gateway/attempt", "gateway/owner"
"""Labels: the job, its attempt, and the gateway whose it is."""
NETWORK = "gateway/network"
"""Label for network policies: ``none`` unless an operator asks for a network."""
_MOST_LABEL = 63
_MOST_SLUG = 40


def pod_name(job_id: str, attempt: int) -> str:
    """The Pod of one attempt."""
    return f"gateway-{job_id}-{attempt}"


def container_name(definition: Definition, operator: Operator) -> str:
    """The container of an operator: a DNS label that no other operator of the pipeline has.

    Operators' names may be longer, hold underscores and differ in nothing a label can hold, so
    the position comes first and the name is only for people.
    """
    position = definition.operators.index(operator)
    slug = re.sub(r"[^a-z0-9]+", "-", operator.name.lower())[:_MOST_SLUG].strip("-")
    return f"op-{position}-{slug}" if slug else f"op-{position}"


def labels(job_id: str, attempt: int, owner: str) -> Mapping[str, str]:
    """What every object of an attempt bears."""
    return {MANAGED: MANAGER, JOB: job_id, ATTEMPT: str(attempt), OWNER: owner}


def label_value(text: str) -> str:
    """``text`` as the value of a label; what does not fit is left out."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:_MOST_LABEL].strip("._-")


def of_job(job_id: str) -> str:
    """The selector of a job's objects, whichever attempt."""
    return f"{JOB}={job_id}"


def of_owner(owner: str) -> str:
    """The selector of all objects of one gateway."""
    return f"{OWNER}={owner}"
