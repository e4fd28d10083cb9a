"""A job as an Argo Workflow, as plain data.

Two forms.  A definition that asks for Argo is a DAG with a Pod per operator: each has its own
requests, and only what it needs of the data folder.  Any other is Clara's mode: one Pod by a
``containerSet``, whose containers Argo keeps in order; the cost of a Pod's start is paid once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from gateway.config.kubernetes import ArgoSettings
from gateway.executors.argo.api import GROUP, OPERATOR, VERSION
from gateway.executors.kubernetes import containers, names, pod, volumes
from gateway.executors.kubernetes.api import Object
from gateway.executors.kubernetes.containers import Share, Site
from gateway.executors.kubernetes.names import container_name
from gateway.jobs.executor import JobRun
from gateway.pipelines.model import Operator
from gateway.pipelines.orchestration import asks_for_argo

ENTRY = "pipeline"
"""The template that a Workflow begins with."""
INSTANCE = "workflows.argoproj.io/controller-instanceid"
NOTHING = "GATEWAY_NOTHING"
"""A variable without a value, which keeps braces apart."""
KEEP_SECONDS = 7 * 24 * 3600
"""How long a Workflow that ended waits for a gateway to come back to it."""
_KEEP_PODS = "24h"
_PRIORITY = {"lower": -1, "normal": 0, "higher": 1, "immediate": 2}
_BRACES = re.compile(r"\{(?=\{)")


@dataclass(frozen=True)
class Form:
    """What every Workflow of this gateway is made with."""

    site: Site
    argo: ArgoSettings
    owner: str
    deadline_seconds: int
    """Argo ends a Workflow after this, should no gateway ever come back to it."""


def workflow(form: Form, run: JobRun) -> Object:
    """The Workflow of an attempt, named after it: however often it is made, there is one."""
    dag = asks_for_argo(run.definition) is not None
    labels: Object = dict(names.labels(run.job_id, run.attempt, form.owner))
    marks = {} if form.argo.instance_id is None else {INSTANCE: form.argo.instance_id}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Workflow",
        "metadata": {
            "name": names.pod_name(run.job_id, run.attempt),
            "labels": labels | marks,
        },
        "spec": {
            "entrypoint": ENTRY,
            "templates": _graph(form, run) if dag else [_set(form, run)],
            "podMetadata": {"labels": labels | pod.queue(form.site.settings)},
            "priority": _PRIORITY[run.priority.lower()],
            **_ending(form),
            **_rights(form, run),
            **_placed(form, run),
        },
    }


def plain(text: str) -> str:
    """``text``, already fit for the cluster, so that Argo puts no values of its own into it.

    Argo looks for two braces wherever they stand and knows no escape; the cluster puts the
    variable's value, which is nothing, between them later.
    """
    return _BRACES.sub(f"{{$({NOTHING})", text)


def ambiguous(run: JobRun, operator: Operator) -> str | None:
    """A path that Argo would put values into, where nothing can keep them out."""
    paths = [each.path for each in volumes.folders(run, operator)]
    paths += [] if operator.host_volume is None else [operator.host_volume]
    return next((path for path in paths if "{{" in path), None)


def _graph(form: Form, run: JobRun) -> list[Object]:
    """A DAG over one template per operator."""
    operators = containers.running(run)
    tasks = []
    for operator in operators:
        name = container_name(run.definition, operator)
        task: Object = {"name": name, "template": name}
        after = _after(run, operator)
        tasks.append(task | ({"dependencies": after} if after else {}))
    entry = {"name": ENTRY, "dag": {"failFast": True, "tasks": tasks}}
    return [entry, *(_single(form, run, operator) for operator in operators)]


def _single(form: Form, run: JobRun, operator: Operator) -> Object:
    """The template of one operator that is a Pod of its own."""
    made = _container(form, run, operator, Share())
    name = made.pop("name")
    found: Object = {
        "name": name,
        "metadata": {"labels": {OPERATOR: name, names.NETWORK: _network([operator])}},
        "container": made,
        "volumes": _volumes(form, run, [operator]),
    }
    return found | _patch(form, run, [operator])


def _set(form: Form, run: JobRun) -> Object:
    """The template of a whole job that is one Pod."""
    operators = containers.running(run)
    part = containers.share(run.definition, operators)
    made = []
    for operator in operators:
        after = _after(run, operator)
        one = _container(form, run, operator, part)
        made.append(one | ({"dependencies": after} if after else {}))
    found: Object = {
        "name": ENTRY,
        "metadata": {"labels": {names.NETWORK: _network(operators)}},
        "containerSet": {"containers": made},
        "volumes": _volumes(form, run, operators),
    }
    return found | _patch(form, run, operators)


def _container(form: Form, run: JobRun, operator: Operator, part: Share) -> Object:
    """An operator's container; Argo keeps the order, so no waiter stands before it."""
    made = containers.container(form.site, run, operator, part, waits=False)
    variables = [each | {"value": plain(each["value"])} for each in made["env"]]
    made["env"] = [{"name": NOTHING, "value": ""}, *variables]
    if "command" in made:
        made["command"] = [plain(word) for word in made["command"]]
    return made


def _after(run: JobRun, operator: Operator) -> list[str]:
    """Containers that must end before this one begins, in this attempt."""
    return [
        container_name(run.definition, run.definition.operator(name))
        for name in operator.upstream
        if name not in run.kept
    ]


def _volumes(form: Form, run: JobRun, operators: list[Operator]) -> list[Object]:
    found = [volumes.data_volume(form.site.settings)]
    for operator in operators:
        found += containers.own_volumes(run, operator)
    return found


def _network(operators: list[Operator]) -> str:
    return "asked" if any(o.network for o in operators) else "none"


def _patch(form: Form, run: JobRun, operators: list[Operator]) -> Object:
    """What a Workflow has no key for, as a patch of the Pods it makes."""
    found: dict[str, Any] = {
        "terminationGracePeriodSeconds": pod.grace(run),
        "enableServiceLinks": False,
        "hostname": "operator",
    }
    runtime = form.site.settings.runtime_class
    if runtime is not None and any(o.requests.gpu for o in operators):
        found["runtimeClassName"] = runtime
    return {"podSpecPatch": json.dumps(found)}


def _ending(form: Form) -> Object:
    """When the cluster itself ends and removes what no gateway came back to."""
    return {
        "activeDeadlineSeconds": form.deadline_seconds,
        "ttlStrategy": {"secondsAfterCompletion": KEEP_SECONDS},
        # Logs are read from Pods that ended.
        "podGC": {"strategy": "OnWorkflowCompletion", "deleteDelayDuration": _KEEP_PODS},
        "archiveLogs": False,
    }


def _rights(form: Form, run: JobRun) -> Object:
    """Only Argo's own containers get a token; operators none."""
    account = form.argo.service_account
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": account},
        "securityContext": containers.user(),
        "imagePullSecrets": [{"name": name} for name in run.definition.pull_secrets],
    }


def _placed(form: Form, run: JobRun) -> Object:
    """Where its Pods may run, and before which others."""
    found = pod.placement(form.site.settings, run, [])
    chosen = found.pop("priorityClassName", None)
    return found | ({} if chosen is None else {"podPriorityClassName": chosen})
