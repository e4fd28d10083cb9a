"""From the methods of a servicer to gRPC handlers: errors, stalled streams, who may call.

The descriptors of the generated messages say which methods a service has and which of them
stream; a servicer has one method for each, named in snake case.  A servicer raises
:class:`~gateway.errors.GatewayError` for what it knows to be wrong.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import GatewayError, Transient
from gateway.platform.errors import Code, code_of, messages_of
from gateway.platform.wire.common_pb2 import ResponseHeader

log = logging.getLogger(__name__)

STALL_SECONDS = 120.0
"""A stream on which nothing moves for this long is ended."""
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 10.0
"""Longest wait, after the last message of a caller's stream, for what gRPC still knows of it."""
_SETTLE_STEP = 0.0002

Method = Callable[..., Any]


class Guard(Protocol):
    """Decides who may call what."""

    def check(self, context: grpc.ServicerContext, service: str, method: str) -> None:
        """Return, or end the call with a gRPC status (by raising)."""


class Streams:
    """Every open stream and when something last moved on it; any thread."""

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall_seconds = stall_seconds
        self._moved: dict[grpc.ServicerContext, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self) -> None:
        """End stalled streams until :meth:`stop`; run it in a thread of its own."""
        while not self._stop.wait(min(LOOK_SECONDS, self._stall_seconds / 4)):
            self._look(time.monotonic())

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stop.set()

    def follow(self, items: Iterable[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Pass ``items`` on; each counts as a movement, and so does the way to the next one."""
        moved = self._moved
        with self._lock:
            moved[context] = time.monotonic()
        try:
            for item in items:
                moved[context] = time.monotonic()
                yield item
                moved[context] = time.monotonic()
        finally:
            with self._lock:
                moved.pop(context, None)

    def _look(self, now: float) -> None:
        with self._lock:
            stalled = [c for c, at in self._moved.items() if now - at > self._stall_seconds]
        for context in stalled:
            log.warning("stream ended: nothing moved on it", extra={"peer": context.peer()})
            context.cancel()


def handler(
    service: ServiceDescriptor, servicer: object, streams: Streams, guard: Guard | None
) -> grpc.GenericRpcHandler:
    """The handler of ``service``, whose methods ``servicer`` implements."""
    methods = {
        method.name: _handler(method, getattr(servicer, snake(method.name)), streams, guard)
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def snake(name: str) -> str:
    """``ReadLogs`` as ``read_logs``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _handler(
    method: MethodDescriptor, function: Method, streams: Streams, guard: Guard | None
) -> grpc.RpcMethodHandler[Any, Any]:
    answer = GetMessageClass(method.output_type)
    served = _Served(method.full_name, function, answer, streams)
    call: Method
    if method.client_streaming:
        call, make = served.upload, grpc.stream_unary_rpc_method_handler
    elif method.server_streaming:
        call, make = served.stream, grpc.unary_stream_rpc_method_handler
    else:
        call, make = served.single, grpc.unary_unary_rpc_method_handler

    def guarded(request: Any, context: grpc.ServicerContext) -> Any:
        if guard is not None:
            guard.check(context, method.containing_service.name, method.name)
        return call(request, context)

    return make(
        guarded,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=answer.SerializeToString,
    )


class _Served:
    """One method, called in the three shapes that the API has."""

    def __init__(
        self, name: str, function: Method, answer: type[Message], streams: Streams
    ) -> None:
        self._name = name
        self._function = function
        self._answer = answer
        self._streams = streams

    def single(self, request: Message, _context: grpc.ServicerContext) -> Message:
        try:
            answer: Message = self._function(request)
        except Exception as error:  # noqa: BLE001 - the task boundary: told and logged
            return self._failed(error)
        return answer

    def upload(self, requests: Iterator[Message], context: grpc.ServicerContext) -> Message:
        try:
            answer: Message = self._function(self._whole(requests, context))
        except grpc.RpcError:
            # The caller went away in the middle: there is nobody to answer.
            raise
        except Exception as error:  # noqa: BLE001 - the task boundary: told and logged
            return self._failed(error)
        return answer

    def _whole(
        self, requests: Iterator[Message], context: grpc.ServicerContext
    ) -> Iterator[Message]:
        """A caller's messages; an error at their end when the caller is gone."""
        yield from self._streams.follow(requests, context)
        if not _settled(context):
            raise Transient("the stream broke before its end")

    def stream(self, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        return self._streams.follow(self._answers(request, context), context)

    def _answers(self, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        begun = False
        try:
            for answer in self._function(request):
                yield answer
                begun = True
                if not context.is_active():
                    return
        except Exception as error:  # noqa: BLE001 - the task boundary: told and logged
            failed = self._failed(error)
            if not begun:
                yield failed
                return
            header: ResponseHeader = failed.header  # type: ignore[attr-defined]
            context.abort(grpc.StatusCode.ABORTED, "; ".join(header.messages))

    def _failed(self, error: Exception) -> Message:
        """The answer that tells ``error``; what nobody expected is logged."""
        if isinstance(error, GatewayError):
            return self._answer(
                header=ResponseHeader(code=code_of(error), messages=messages_of(error))
            )
        log.error("call failed", extra={"method": self._name}, exc_info=error)
        if isinstance(error, OSError | SQLAlchemyError):
            code, message = Code.UNAVAILABLE, "the gateway's disk or database failed"
        else:
            code, message = Code.INTERNAL, "the gateway failed"
        return self._answer(
            header=ResponseHeader(code=code, messages=[f"{message}; its log says more"])
        )


def _settled(context: grpc.ServicerContext) -> bool:
    """Whether a stream that ended was ended by its caller, and is no upload cut short.

    gRPC tells a stream that broke as ended, and as cancelled a moment later, in either order.  Its
    events come one by one: once one that was caused here has come, those from before it have, too.
    How long that takes is up to the machine: a fixed pause took 4 of 800 broken streams for whole.
    """
    context.send_initial_metadata(())
    # The interface of gRPC does not say when an operation is done; its own books do.
    pending = context._state.due  # type: ignore[attr-defined]  # noqa: SLF001
    deadline = time.monotonic() + SETTLE_SECONDS
    while "send_initial_metadata" in pending:
        if time.monotonic() > deadline:
            return False
        time.sleep(_SETTLE_STEP)
    return context.is_active()
