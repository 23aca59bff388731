"""
Shut down the socket that a thread waits on.

Nothing stops a thread from outside, but most threads that hang do so in a
socket, and `shutdown` wakes them (`close` does not). Then the callee meets the
end of its connection, and ends by its own error handling.

Which socket is its own is told by the line that the thread is at, in its
innermost frame only: that line calls something that blocks on a socket
(`recv`, `sendall`, `do_handshake`, ...), and the socket is a value that the
line names: a variable, or an attribute of one (`self._sock`); or a variable on
that line is such a method of a socket (`read = sock.recv`). So `time.sleep`
beside an open socket shuts down nothing, nor does a wait for a lock whose
owner reads. A connection that the line does not name, because C code holds it
(libpq, curl, gRPC), is not found, nor is a name that is being looked up.

Nothing here raises, and nothing is kept: neither frames nor values.
"""

from __future__ import annotations

import dis
import functools
import socket
import struct
import sys
from collections.abc import Iterator
from types import BuiltinMethodType, CodeType, FrameType, MemberDescriptorType, MethodType
from typing import TYPE_CHECKING, Any

from hungframe.abort.where import frame_of

if TYPE_CHECKING:
    from hungframe.abort.threads import Job

_READS = frozenset(
    {
        "connect",
        "connect_ex",
        "do_handshake",
        "poll",
        "read",
        "readinto",
        "recv",
        "recv_into",
        "recvfrom",
        "recvfrom_into",
        "recvmsg",
        "recvmsg_into",
        "select",
        "unwrap",
    }
)
_WRITES = frozenset({"send", "sendall", "sendfile", "sendmsg", "sendto", "write"})

# `self.connection.sock.recv()`: a variable, and attributes below it.
_DEEPEST = 3

# Without a lock that holds other threads still, another thread's frame must
# not be read.
_HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

_NO_LINGER = struct.pack("ii", 1, 0) if sys.platform != "win32" else struct.pack("hh", 1, 0)


def shut_down(job: Job) -> None:
    """
    Shut down the socket that the thread of *job* waits on, if it waits on one.
    """
    if not _HAS_GIL or job.ident is None:
        return
    frame = frame_of(job.ident)
    try:
        if frame is not None:
            _shut_down(job, frame)
    except Exception:
        # Frames are read while their thread goes on, and what stands in them
        # is of any kind. An abort must not fail because of that.
        return
    finally:
        del frame


def _shut_down(job: Job, frame: FrameType) -> None:
    at = frame.f_lasti
    names = _names_on_line(frame.f_code, frame.f_lineno)
    values = _values(frame, names)
    for sock, writes in _called(values) or _named(values, names):
        # The frame was the job's if the job runs still, and it waits still
        # if its instruction is the same: a connection that it is done with
        # may belong to somebody else by now.
        if not job.running or frame.f_lasti != at:
            return
        try:
            if writes:
                # What nobody reads would stay in the kernel for minutes after
                # the callee has closed its socket. Now that will reset it.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            # Not its own method: a TLS socket would drop its TLS object, in
            # which the thread is.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            # Not connected, or closed meanwhile.
            continue


@functools.lru_cache(maxsize=256)
def _names_on_line(code: CodeType, line: int) -> frozenset[str]:
    """
    The variables, attributes and methods that one line of a function names.
    """
    within = [(start, end) for start, end, number in code.co_lines() if number == line]
    names = {
        name
        for instruction in dis.get_instructions(code)
        if any(start <= instruction.offset < end for start, end in within)
        # Newer interpreters load two variables at once.
        for name in (instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,))
        if isinstance(name, str) and instruction.opname.startswith("LOAD") and "CONST" not in instruction.opname
    }
    if "super" in names:
        names.add("self")
    return frozenset(names)


def _values(frame: FrameType, names: frozenset[str]) -> list[Any]:
    """
    The variables of these names.
    """
    variables, module = frame.f_locals, frame.f_globals
    return [variables[name] if name in variables else module.get(name) for name in names]


def _called(values: list[Any]) -> list[tuple[socket.socket, bool]]:
    """
    The sockets of which a variable is a method that blocks, perhaps in a partial; and whether it writes.
    """
    found: list[tuple[socket.socket, bool]] = []
    for value in values:
        if issubclass(type(value), functools.partial):
            value = value.func
        if issubclass(type(value), (BuiltinMethodType, MethodType)) and _is_connection(value.__self__):
            name = value.__name__
            if name in _READS or name in _WRITES:
                found.append((value.__self__, name in _WRITES))
    return found


def _named(values: list[Any], names: frozenset[str]) -> Iterator[tuple[socket.socket, bool]]:
    """
    The sockets that a line names which calls something that blocks on one; and whether it writes.
    """
    writes = not _WRITES.isdisjoint(names)
    if not writes and _READS.isdisjoint(names):
        return
    for _ in range(_DEEPEST):
        for value in values:
            if _is_connection(value):
                yield value, writes
        values = [
            found
            for value in values
            if value is not None and not issubclass(type(value), (socket.socket, type))
            for name in names
            if (found := _attribute(value, name)) is not None
        ]


def _is_connection(value: Any) -> bool:
    # Not a listener, which all who accept share (nothing here accepts), nor a
    # datagram socket. By its type alone: a proxy's own words are not asked.
    return issubclass(type(value), socket.socket) and value.type == socket.SOCK_STREAM


def _attribute(value: Any, name: str) -> Any:
    """
    What stands in an object under a name; no code of the object runs.
    """
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    if type(own) is dict and name in own:
        return own[name]
    for base in type(value).__mro__:
        found = base.__dict__.get(name)
        if found is not None:
            return found.__get__(value) if isinstance(found, MemberDescriptorType) else None
    return None
