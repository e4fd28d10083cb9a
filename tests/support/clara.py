"""The platform API called without generated stubs: ``api.Jobs.Create(pipeline_id=…)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from gateway.platform.wire import (
    clara_pb2,
    jobs_pb2,
    metrics_pb2,
    models_pb2,
    payloads_pb2,
    pipelines_pb2,
)

CLIENT = ("nvidia-clara-client==0.8.1.7", "protobuf==3.20.3", "grpcio==1.85.1")
"""What the environment of NVIDIA's client holds."""
FILES = (clara_pb2, jobs_pb2, metrics_pb2, models_pb2, payloads_pb2, pipelines_pb2)


class Api:
    """One attribute per service."""

    def __init__(self, channel: grpc.Channel) -> None:
        for file in FILES:
            for service in file.DESCRIPTOR.services_by_name.values():
                setattr(self, service.name, _Service(channel, service))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class _Service:
    def __init__(self, channel: grpc.Channel, service: ServiceDescriptor) -> None:
        for method in service.methods:
            setattr(self, method.name, _Method(channel, method))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class _Method:
    """A method: fields in (or an iterable of messages), message or stream of messages out."""

    def __init__(self, channel: grpc.Channel, method: MethodDescriptor) -> None:
        kind = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
        }[(method.client_streaming, method.server_streaming)]
        self.request = GetMessageClass(method.input_type)
        self._streaming = method.client_streaming
        self.call: Any = kind(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=self.request.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def __call__(self, *messages: Any, timeout: float = 30, **fields: Any) -> Any:
        if self._streaming:
            given: Iterable[Any] = messages or [self.request(**fields)]
            return self.call(iter(given), timeout=timeout)
        return self.call(self.request(**fields), timeout=timeout)


def chunks(request: Any, payload: str, name: str, data: bytes, size: int = 65536) -> Iterator[Any]:
    """The messages of an upload, as NVIDIA's client makes them."""
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        yield request(
            payload_id={"value": payload},
            details={"name": name, "size": len(piece)},
            data=piece,
        )
