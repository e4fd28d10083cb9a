"""The platform API (gRPC) as the command line calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.cli.address import Address, is_local
from gateway.cli.errors import FAILURE, NOT_FOUND, UNREACHABLE, USAGE, CliError
from gateway.platform.errors import Code
from gateway.platform.wire import clara_pb2, jobs_pb2, payloads_pb2, pipelines_pb2

SECONDS = 60.0
"""Longest wait for the answer to a single message."""

_FILES = (clara_pb2, jobs_pb2, payloads_pb2, pipelines_pb2)
_EXITS = {Code.INVALID: USAGE, Code.NOT_FOUND: NOT_FOUND}
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Platform:
    """Calls one gateway; every fault becomes a :class:`CliError`.  Any thread."""

    def __init__(self, address: Address) -> None:
        """Nothing is sent yet; :class:`CliError` when the token would travel in the clear."""
        self._address = address
        self._channel = _channel(address)
        self._metadata = (
            (("authorization", f"Bearer {address.token}"),) if address.token is not None else ()
        )
        self._methods = {
            f"{service.name}.{method.name}": method
            for file in _FILES
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    def __enter__(self) -> Self:
        """Use it for one command."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close its connection."""
        self._channel.close()

    def call(self, method: str, *requests: Message) -> Any:
        """The answer of ``method`` (``Jobs.Create``) to one request, or to a stream of them."""
        return self.send(method, requests)

    def send(self, method: str, requests: Iterable[Message]) -> Any:
        """As :meth:`call` for requests that are made while they are sent."""
        found = self._methods[method]
        call = self._prepared(found)
        try:
            if found.client_streaming:
                answer = call(iter(requests), metadata=self._metadata)
            else:
                (request,) = requests
                answer = call(request, metadata=self._metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            raise self._failed(error) from error
        return _checked(answer)

    def stream(self, method: str, request: Message) -> Iterator[Any]:
        """The answers of ``method`` one by one; the call ends when the iterator is closed."""
        call = self._prepared(self._methods[method])(request, metadata=self._metadata)
        try:
            for answer in call:
                yield _checked(answer)
        except grpc.RpcError as error:
            raise self._failed(error) from error
        finally:
            call.cancel()

    def _prepared(self, method: MethodDescriptor) -> Any:
        kinds: dict[tuple[bool, bool], Any] = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
        }
        return kinds[method.client_streaming, method.server_streaming](
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def _failed(self, error: grpc.RpcError) -> CliError:
        code = getattr(error, "code", lambda: None)()
        details = str(getattr(error, "details", lambda: "")() or "")
        if code in _UNREACHABLE:
            reason = details.splitlines()[0] if details else "no answer"
            return CliError(
                f"the platform API at {self._address.host} cannot be reached: {reason}", UNREACHABLE
            )
        if code is grpc.StatusCode.UNAUTHENTICATED:
            details += " (GATEWAY_TOKEN, or `token` in ~/.config/gateway/config.yaml)"
        return CliError(f"{self._address.host}: {details or code}", FAILURE)


def _channel(address: Address) -> grpc.Channel:
    local = is_local(address.machine)
    options = [("grpc.enable_http_proxy", 0)] if local else []
    if address.tls is not None:
        ca, key, chain = (
            _pem(p) for p in (address.tls.ca, address.tls.key, address.tls.certificate)
        )
        return grpc.secure_channel(
            address.host, grpc.ssl_channel_credentials(ca, key, chain), options=options
        )
    if address.token is not None and not local:
        raise CliError(
            f"the token would travel to {address.machine} in the clear: set `tls` in "
            "~/.config/gateway/config.yaml",
            USAGE,
        )
    return grpc.insecure_channel(address.host, options=options)


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", USAGE) from error


def _checked(answer: Any) -> Any:
    """The answer, unless its header tells an error."""
    header = answer.header
    if header.code >= 0:
        return answer
    text = "\n".join(header.messages) or f"the gateway answered with error {header.code}"
    raise CliError(text, _EXITS.get(header.code, FAILURE))
