"""From a definition file to a :class:`~gateway.pipelines.model.Definition`, or to every fault.

The language is Clara's, api-versions 0.2.0 to 0.7.0 (:mod:`gateway.pipelines.versions`).  Steps:
YAML, imports put in place, placeholders filled, the shape of each value, the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gateway.config import document as yaml_document
from gateway.config.document import ConfigError, Document, validate
from gateway.pipelines import checks, imports, model, template, typed
from gateway.pipelines.shape import (
    ContainerShape,
    ExtraShape,
    InputShape,
    OperatorShape,
    PipelineShape,
    RequestsShape,
    ServiceShape,
)
from gateway.pipelines.sources import Sources
from gateway.pipelines.versions import SUPPORTED


def parse(
    text: str,
    file: str,
    files: Mapping[str, str] | None = None,
    *,
    host_volumes: Sequence[str] | None = None,
) -> model.Definition:
    """Parse ``text``; every placeholder takes its default and the job's id is all zeros.

    ``file`` is the name used in faults; ``files`` are the texts of what it imports, by names
    relative to it or of its own kind.  ``host_volumes`` are the folders of the machine that may be
    asked for, None = any.  Raises :class:`ConfigError` with every fault.
    """
    return resolve(text, file, {}, files=files, host_volumes=host_volumes)


def resolve(
    text: str,
    file: str,
    arguments: Mapping[str, str],
    job_id: str | None = None,
    *,
    files: Mapping[str, str] | None = None,
    host_volumes: Sequence[str] | None = None,
) -> model.Definition:
    """Parse ``text`` with ``arguments`` for its parameters, as a job's start does.

    ``job_id`` fills ``${{JOB_ID}}``.  Raises :class:`ConfigError` with every fault, an argument
    that is no parameter among them.
    """
    whole = expanded(text, file, files)
    given = dict(arguments)
    if template.JOB_ID in given:
        raise ConfigError([whole.fault((), f"{template.JOB_ID} is no parameter")])
    if job_id is not None:
        given[template.JOB_ID] = job_id
    filled = template.substitute(whole, given)
    shape = validate(PipelineShape, filled)
    faults = checks.faults(filled, shape, host_volumes)
    if faults:
        raise ConfigError(faults)
    return _definition(shape)


def expanded(text: str, file: str, files: Mapping[str, str] | None = None) -> Document:
    """The document with its imports put in place, placeholders of its parameters still in it."""
    document = yaml_document.parse(text, file)
    if not isinstance(document.data, dict):
        raise ConfigError(
            [document.fault((), "must be a mapping with api-version, name, operators")]
        )
    _check_version(document)
    return imports.expand(document, Sources(file, files))


def _check_version(document: Document) -> None:
    """Refuse other versions before anything else: their keys mean other things."""
    version = document.data.get("api-version")
    if version in SUPPORTED:
        return
    supported = f"supported are {', '.join(SUPPORTED)}"
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
    codes = pipeline.retry_exit_codes if own.retry_exit_codes is None else own.retry_exit_codes
    container = shape.container
    folders = [i for i in shape.input if i.path is not None]
    return model.Operator(
        name=shape.name,
        image=container.image,
        tag=container.tag,
        description=shape.description,
        command=tuple(container.command),
        inputs=tuple(_input(str(i.path), i, names) for i in folders),
        outputs=tuple(
            model.Output(o.path, o.name, typed.word(o)) for o in shape.output if o.path is not None
        ),
        data_inputs=tuple(_data_input(i, names) for i in shape.input if i.path is None),
        data_outputs=tuple(
            model.DataOutput(str(o.name), cells, str(o.type))
            for o in shape.output
            if (cells := typed.cells_of(o)) is not None
        ),
        models=tuple(m.name for m in shape.models),
        host_volume=container.host_volume_path,
        variables=_variables(shape.variables, container),
        requests=_requests(shape.requests),
        services=tuple(_service(s) for s in shape.services),
        network=bool(network),
        retries=own.retries,
        retry_exit_codes=None if codes is None else frozenset(codes),
        labels=dict(own.labels),
    )


def _input(path: str, shape: InputShape, operators: Mapping[str, OperatorShape]) -> model.Input:
    """Spell the operator and its output as they were declared, whatever the case of letters."""
    if shape.source is None:
        return model.Input(path, None, shape.name)
    upstream = operators[shape.source.lower()]
    output = checks.find_output(upstream, shape.name)
    name = shape.name if output is None or output.name is None else output.name
    return model.Input(path, upstream.name, name if shape.name else None)


def _data_input(shape: InputShape, operators: Mapping[str, OperatorShape]) -> model.DataInput:
    """An input that was checked to read an output in shared memory."""
    upstream = operators[str(shape.source).lower()]
    output = checks.find_output(upstream, shape.name)
    made = None if output is None else typed.cells_of(output)
    if output is None or made is None:
        raise ValueError(f"{shape.name} of {upstream.name} is not in shared memory")
    return model.DataInput(str(output.name), upstream.name, typed.cells_of(shape) or made)


def _service(shape: ServiceShape) -> model.Service:
    connections = shape.connections
    return model.Service(
        name=shape.name,
        image=shape.container.image,
        tag=shape.container.tag,
        command=tuple(shape.container.command),
        variables=_variables(shape.variables, shape.container),
        requests=_requests(shape.requests),
        host_volume=shape.container.host_volume_path,
        http=tuple(model.HttpConnection(h.name, h.port) for h in connections.http),
        volumes=tuple(
            model.VolumeConnection(v.name, v.path) for v in (*connections.volume, *connections.file)
        ),
    )


def _variables(outer: Mapping[str, str], container: ContainerShape) -> dict[str, str]:
    return {**outer, **container.variables}


def _requests(shape: RequestsShape) -> model.Requests:
    return model.Requests(shape.cpu, shape.memory, shape.gpu)
