"""
A response has a size beyond which nobody wants it, deadline or not.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hungframe.errors import HungframeError, ResponseTooLargeError
from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    Side,
    body_generators,
    check_clean,
    each_kind,
    each_library,
    ended,
    linux_only,
    plain_and_tls,
    post,
)

pytestmark = body_generators

ROOT = Path(__file__).parents[2]


@plain_and_tls
@each_kind
@each_library
def test_a_body_without_end(library: str, kind: str, tls: bool) -> None:
    """
    Cut once it is over the limit, long before the deadline; the connection is closed.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client(max_response_bytes=100_000)
        each = await ended(side, post, client, hostile, "endless-body", settings={"timeout": 20.0})
        assert type(each.error) is ResponseTooLargeError
        assert ("", 100_000, None) == (each.error.guard, each.error.limit, each.error.announced)
        assert "larger than max_response_bytes (100,000)" in str(each.error)
        assert each.seconds < 5.0
        assert 0 == each.counted.get("timeout", 0)
        assert hostile.wait_closed(1.0)
        check_clean(client)
        assert 200 == (await side.do(post, client, hostile, "ok")).status_code
        await side.close(client)

    with HostileProvider(tls=tls) as hostile:
        side.run(main)


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    """
    One for all that asks in the plain.
    """
    with HostileProvider() as started:
        yield started


@each_kind
@each_library
def test_the_limit_is_exact(library: str, kind: str, provider: HostileProvider) -> None:
    """
    As many bytes as the limit are taken, announced or not; one more is not.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        size = len((await side.do(client.get, f"{provider.url}/x")).content)
        await side.close(client)
        for limit in (size, size - 1):
            client = side.client(max_response_bytes=limit)
            if limit == size:
                assert size == len((await side.do(client.get, f"{provider.url}/x")).content)
            else:
                with pytest.raises(ResponseTooLargeError) as caught:
                    await side.do(client.get, f"{provider.url}/x")
                # It was announced, and refused before the body was read.
                assert size == caught.value.announced
                assert f"a response of {size} bytes is over max_response_bytes" in str(caught.value)
                copy = pickle.loads(pickle.dumps(caught.value))
                assert (limit, size, str(caught.value)) == (copy.limit, copy.announced, str(copy))
            # Announces a length as well, and has no body.
            assert 200 == (await side.do(client.head, f"{provider.url}/x")).status_code
            check_clean(client)
            await side.close(client)

    side.run(main)
    assert provider.wait_closed(1.0)


@each_kind
@each_library
def test_a_stream_is_cut_as_well(library: str, kind: str, provider: HostileProvider) -> None:
    """
    What came before is handed out, and no more than the limit of it.
    """
    side = Side(library, kind)
    got: list[int] = []

    async def main() -> None:
        client = side.client(max_response_bytes=1_000_000)
        url = f"{provider.url}/?mode=endless-body"
        if kind == "sync":
            with pytest.raises(ResponseTooLargeError), client.stream("GET", url) as response:
                got.extend(len(chunk) for chunk in response.iter_raw())
        else:
            with pytest.raises(ResponseTooLargeError):
                async with client.stream("GET", url) as response:
                    async for chunk in response.aiter_raw():
                        got.append(len(chunk))
        check_clean(client)
        await side.close(client)

    side.run(main)
    assert 500_000 < sum(got) <= 1_000_000
    assert provider.wait_closed(1.0)


@each_kind
@each_library
def test_none_is_no_limit_and_there_is_one_by_default(library: str, kind: str) -> None:
    """
    256 MiB where nothing is said.
    """
    side = Side(library, kind)
    assert 256 * 1024 * 1024 == side.client()._transport._max_response_bytes
    assert None is side.client(max_response_bytes=None)._transport._max_response_bytes
    assert 7 == side.client(max_response_bytes=7)._transport._max_response_bytes
    assert issubclass(ResponseTooLargeError, HungframeError)


@each_kind
@each_library
@pytest.mark.parametrize("value", [0, -1, True, "1", 1.5, float("nan")])
def test_what_is_no_limit_is_refused(value: Any, library: str, kind: str) -> None:
    """
    Where it is given, with its name and what would do.
    """
    with pytest.raises((ValueError, TypeError), match="max_response_bytes must be .*got"):
        Side(library, kind).client(max_response_bytes=value)


# One each, in a process of its own, in which nothing else takes memory.
PROGRAM = """
import sys, time
from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import Side, drive

side = Side(sys.argv[1], sys.argv[2])

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

most = 0
async def main():
    global most
    client = side.client(max_response_bytes=None)
    start = resident()
    async def look():
        global most
        if side.kind == "sync":
            with client.stream("GET", provider.url) as response:
                for _ in response.iter_raw():
                    most = max(most, resident() - start)
        else:
            async with client.stream("GET", provider.url) as response:
                async for _ in response.aiter_raw():
                    most = max(most, resident() - start)
    try:
        guard = Guard("hostile", timeout=0.5, isolate=None)
        await side.call(guard, look if side.kind != "sync" else lambda: drive(look()))
    except CallTimeoutError as error:
        print(most, error.wire.bytes_received)
    await side.close(client)

with HostileProvider("endless-body") as provider:
    side.run(main)
"""


@linux_only
@each_kind
@each_library
def test_memory_while_a_body_without_end_is_streamed(library: str, kind: str) -> None:
    """
    What is read and let go takes no memory, however much it is.
    """
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, library, kind]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=30, check=False)
    assert 0 == ran.returncode, ran.stderr
    most, received = map(int, ran.stdout.split())
    assert received > 20_000_000
    assert most < 20_000_000
