"""
A port to listen on, which is nobody else's while we start.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

_USUAL = 8000


class NoPortError(Exception):
    """
    There is no port to listen on; the message says why.
    """


@contextlib.contextmanager
def port(host: str, wanted: int) -> Iterator[int]:
    """
    Give the port that is wanted, for as long as the block lasts; for 0 the usual one, or any other if that is taken.

    It is looked at before anything is started: whoever has it would answer in our place, and be taken for us.

    Raises:
        NoPortError: If it is taken, or *host* is no address of this machine.
    """
    why = ""
    with contextlib.ExitStack() as held:
        for one in [wanted] if wanted else [_USUAL, 0]:
            try:
                found = _free(host, one)
                held.enter_context(_claimed(found))
            except OSError as error:
                why = error.strerror or str(error)
                continue
            yield found
            return
    named = f"port {wanted} of {host}" if wanted else f"a port of {host}"
    raise NoPortError(
        f"{named} cannot be had ({why}); set IMAGES_PORT to a free one, IMAGES_HOST to an address of here"
    )


def _free(host: str, wanted: int) -> int:
    family, kind, *_, where = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        # As servers do: one that has just ended is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
        found: int = probe.getsockname()[1]
        return found


def _claimed(number: int) -> socket.socket:
    """
    Tell others that start on this machine, seconds before we listen; on Linux only.
    """
    claim = socket.socket(socket.AF_UNIX if sys.platform == "linux" else socket.AF_INET)
    if sys.platform == "linux":
        try:
            # A name without a file, which the kernel forgets with its process.
            claim.bind(f"\0hungframe-example-{number}")
        except OSError:
            claim.close()
            raise
    return claim
