"""From a definition file to a :class:`~gateway.pipelines.model.Definition`, or to every fault.

The language is Clara's, api-version 0.4.0.  Version 0.3.0 has the same keys and is taken too; it
meant Argo, and :func:`gateway.pipelines.orchestration.note` says what becomes of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.config import document as yaml_document
from gateway.config.document import ConfigError, Document, validate
from gateway.pipelines import checks, model, template
from gateway.pipelines.shape import (
    ContainerShape,
    ExtraShape,
    OperatorShape,
    PipelineShape,
    RequestsShape,
    ServiceShape,
)

SUPPORTED = ("0.4.0", "0.3.0")
"""Versions of the language that are understood."""


def parse(text: str, file: str) -> model.Definition:
    """Parse ``text``; every placeholder takes its default and the job's id is all zeros.

    ``file`` is the name used in faults.  Raises :class:`ConfigError` with every fault.
    """
    return resolve(text, file, {})


def resolve(
    text: str, file: str, arguments: Mapping[str, str], job_id: str | None = None
) -> model.Definition:
    """Parse ``text`` with ``arguments`` for its parameters, as a job's start does.

    ``job_id`` fills ``${{JOB_ID}}``.  Raises :class:`ConfigError` with every fault, an argument
    that is no parameter among them.
    """
    return definition(yaml_document.parse(text, file), arguments, job_id)


def definition(
    document: Document, arguments: Mapping[str, str] | None = None, job_id: str | None = None
) -> model.Definition:
    """The definition that ``document`` holds; as :func:`resolve`."""
    if not isinstance(document.data, dict):
        raise ConfigError(
            [document.fault((), "must be a mapping with api-version, name, operators")]
        )
    _check_version(document)
    given = dict(arguments or {})
    if template.JOB_ID in given:
        raise ConfigError([document.fault((), f"{template.JOB_ID} is no parameter")])
    if job_id is not None:
        given[template.JOB_ID] = job_id
    filled = template.substitute(document, given)
    shape = validate(PipelineShape, filled)
    faults = checks.faults(filled, shape)
    if faults:
        raise ConfigError(faults)
    return _definition(shape)


def _check_version(document: Document) -> None:
    """Refuse other versions before anything else: their keys mean other things."""
    version = document.data.get("api-version")
    if version in SUPPORTED:
        return
    supported = f"supported are {SUPPORTED[0]} and, with the same keys, {SUPPORTED[1]}"
    if version is None:
        message = f"is required; {supported}"
    elif isinstance(version, str) and re.fullmatch(r"\d+\.\d+\.\d+", version):
        message = f"the language version {version} is not supported; {supported}"
    else:
        message = f"{str(version)[:40]!r} is no version of the language; {supported}"
    raise ConfigError([document.fault(("api-version",), message)])


def _definition(shape: PipelineShape) -> model.Definition:
    names = {o.name.lower(): o for o in shape.operators}
    return model.Definition(
        api_version=shape.api_version,
        name=shape.name,
        operators=tuple(_operator(o, names, shape.x_gateway) for o in shape.operators),
        description=shape.description,
        orchestrator=shape.orchestrator,
        parameters=dict(shape.parameters),
        pull_secrets=tuple(shape.pull_secrets),
        timeout=shape.timeout,
        retries=shape.x_gateway.retries,
        labels=dict(shape.x_gateway.labels),
    )


def _operator(
    shape: OperatorShape, names: Mapping[str, OperatorShape], pipeline: ExtraShape
) -> model.Operator:
    own = shape.x_gateway
    network = pipeline.network if own.network is None else own.network
    container = shape.container
    return model.Operator(
        name=shape.name,
        image=container.image,
        tag=container.tag,
        description=shape.description,
        command=tuple(container.command),
        inputs=tuple(_input(i.path, i.source, i.name, names) for i in shape.input),
        outputs=tuple(model.Output(o.path, o.name) for o in shape.output),
        variables=_variables(shape.variables, container),
        requests=_requests(shape.requests),
        services=tuple(_service(s) for s in shape.services),
        network=bool(network),
        retries=own.retries,
        labels=dict(own.labels),
    )


def _input(
    path: str, source: str | None, name: str | None, operators: Mapping[str, OperatorShape]
) -> model.Input:
    """Spell the operator and its output as they were declared, whatever the case of letters."""
    if source is None:
        return model.Input(path, None, name)
    upstream = operators[source.lower()]
    spelt = {o.name.lower(): o.name for o in upstream.output if o.name is not None}
    return model.Input(path, upstream.name, spelt.get(name.lower(), name) if name else None)


def _service(shape: ServiceShape) -> model.Service:
    connections = shape.connections
    return model.Service(
        name=shape.name,
        image=shape.container.image,
        tag=shape.container.tag,
        command=tuple(shape.container.command),
        variables=_variables(shape.variables, shape.container),
        requests=_requests(shape.requests),
        http=tuple(model.HttpConnection(h.name, h.port) for h in connections.http),
        volumes=tuple(
            model.VolumeConnection(v.name, v.path) for v in (*connections.volume, *connections.file)
        ),
    )


def _variables(outer: Mapping[str, str], container: ContainerShape) -> dict[str, str]:
    return {**outer, **container.variables}


def _requests(shape: RequestsShape) -> model.Requests:
    return model.Requests(shape.cpu, shape.memory, shape.gpu)
