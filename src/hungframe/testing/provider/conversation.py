"""
One connection from accept to close: which mode is played, and when.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass

from . import openai_api
from .acts import ACTS, Exchange, ok
from .apis import api_of
from .http import BadRequest, Request, read_body, read_head
from .modes import Mode
from .script import Script
from .stats import Ledger, RequestRecord
from .wire import PeerGone, Wire


@dataclass(slots=True)
class Stage:
    """
    Hold what all conversations of one provider share.
    """

    script: Script
    ledger: Ledger
    url: str
    tls: ssl.SSLContext | None


async def converse(wire: Wire, stage: Stage) -> None:
    """
    Serve a connection until one side ends it.
    """
    try:
        mode = stage.script.take_at_connection()
        if mode:
            stage.ledger.played(mode.text)
            await _before_tls(wire, mode)
        if stage.tls:
            await wire.secure(stage.tls)
        if mode and mode.act == "never-read":
            await wire.ignore()
        while not wire.ended:
            await _exchange(wire, stage, begun=mode)
            mode = None
    except PeerGone:
        pass
    except BadRequest as exc:
        await _refuse(wire, str(exc))
    except asyncio.CancelledError:
        wire.cut()
        raise
    finally:
        wire.finish()


async def _before_tls(wire: Wire, mode: Mode) -> None:
    if mode.act == "tls-stall":
        await wire.pause()
    if mode.act == "slow-accept":
        await wire.ignore(mode.number(0))


async def _exchange(wire: Wire, stage: Stage, begun: Mode | None) -> None:
    """
    Read one request and let its mode answer.

    Args:
        begun: The mode that the connection began with, where this is its
            first request: it has had its effect, and the answer is honest.
    """
    request = await read_head(wire)
    wire.idle = False
    try:
        mode = _mode(request, stage, begun)
    except ValueError as exc:
        # To close on a client that is still sending would reset it, and it
        # would never read why.
        await read_body(wire, request)
        raise BadRequest(str(exc)) from None
    if mode is not begun:
        stage.ledger.played(mode.text)
    stage.ledger.asked(_record(request, mode))
    if mode.act == "never-read":
        await wire.ignore()
    body = await read_body(wire, request)
    answer = api_of(request).answer(request, body, stage.url)
    exchange = Exchange(wire, stage.script, mode, request, body, answer)
    await (ok if mode is begun else ACTS[mode.act])(exchange)
    if exchange.keeps_open:
        wire.idle = True
    else:
        wire.finish()


def _mode(request: Request, stage: Stage, begun: Mode | None) -> Mode:
    if request.mode is not None:
        return Mode.parse(request.mode)
    return begun or stage.script.take()


def _record(request: Request, mode: Mode) -> RequestRecord:
    return RequestRecord(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=request.headers,
        mode=mode.text,
        received_at=time.monotonic(),
    )


async def _refuse(wire: Wire, why: str) -> None:
    answer = openai_api.refusal(400, why)
    try:
        await wire.write(answer.head(keep_alive=False) + answer.body())
    except PeerGone:
        pass
