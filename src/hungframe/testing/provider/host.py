"""
The thread in which a provider lives, with its event loop and its sockets.

Everything that touches a connection runs on this thread. From others, there
are three ways in, and all wait for the thread: start, call and stop.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable

from .conversation import Stage, converse
from .wire import Wire

_BACKLOG = 1_024
# A loop that has nothing to do but hang needs milliseconds to answer.
_PATIENCE = 0.9
# A connection is accepted, made and, where its client has left again, ended
# within this many turns of the loop.
_TURNS = 8


class Host:
    """
    Serve one listening socket from a thread of its own.
    """

    def __init__(self, listener: socket.socket, stage: Stage) -> None:
        self.stage = stage
        self._listener = listener
        self._wires: set[Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = _new_loop()
        self._lock = threading.Lock()
        self._stopped = False
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="hostile-provider", daemon=True)

    def start(self) -> None:
        # From here on clients can connect; they wait in the backlog until
        # the thread comes to accept them.
        self._listener.listen(_BACKLOG)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> bool:
        """
        Run *function* on the thread, after all that the kernel knows by now.

        Returns:
            Whether it ran.
        """
        done = threading.Event()

        def turn(left: int) -> None:
            if left:
                self._loop.call_soon(turn, left - 1)
                return
            function()
            done.set()

        # Against a stop() on another thread, after which nothing runs.
        with self._lock:
            if self._stopped:
                return False
            self._loop.call_soon_threadsafe(turn, _TURNS)
            return done.wait(_PATIENCE)

    def settle(self) -> None:
        """
        Wait until all that the kernel knows by now has been counted.
        """
        self.call(lambda: None)

    def finish_idle(self) -> None:
        for wire in list(self._wires):
            wire.finish_if_idle()

    def stop(self) -> None:
        """
        End every connection, task and the thread itself.
        """
        with self._lock:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: Wire(self.stage.ledger, self._greet, self._wires.discard),
            sock=self._listener,
            backlog=_BACKLOG,
        )
        await self._stopping.wait()
        # asyncio makes an accepted socket a connection in a task of its own,
        # which fails, and loses the socket, once the server is closed. So
        # first accept no more, and close the server last. On Windows that
        # task does not exist, and neither does remove_reader().
        if sys.platform != "win32":
            self._loop.remove_reader(self._listener)
        await self._clear()
        server.close()

    def _greet(self, wire: Wire) -> None:
        self._wires.add(wire)
        task = self._loop.create_task(converse(wire, self.stage))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _clear(self) -> None:
        """
        End tasks and connections until no turn of the loop brings up more.
        """
        # Tasks that are not ours are asyncio's, making a connection of an
        # accepted socket. Cancelled before it has begun, one loses its
        # socket; left alone, it is done in a turn or two.
        quiet = 0
        while quiet < _TURNS:
            for task in self._tasks:
                task.cancel()
            for wire in self._wires:
                wire.cut()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            quiet = 0 if others or self._wires else quiet + 1
            await asyncio.sleep(0)


def _new_loop() -> asyncio.AbstractEventLoop:
    # By name and not by policy: a test suite may have installed uvloop or a
    # loop on a virtual clock, and the provider must be real whatever they do.
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()
    return asyncio.SelectorEventLoop()
