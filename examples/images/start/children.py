"""
Child processes that end with us, whatever becomes of us.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1

# Looked up here, and not in a child that is not yet another program: it has the locks of threads that it has not.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str | Path],
    *,
    when_we_die: signal.Signals,
    user: tuple[int, int] | None = None,
    environ: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """
    Start a process.

    Args:
        argv: The program and its words.

        when_we_die: What it is sent if this process dies without stopping it; on Linux only.

        user: The user and group to run as; None: ours.

        environ: Its environment; None: ours.

        output: Where its output and errors go; None: where ours go.

        folder: Its working directory; None: ours.
    """

    parent = os.getpid()

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        if _prctl is not None:
            # After the change of user, which would clear it.
            _prctl(_PR_SET_PDEATHSIG, int(when_we_die))
            if os.getppid() != parent:
                # We died before that, and nobody would tell it.
                os._exit(1)

    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environ,
        cwd=folder,
        preexec_fn=prepare,
        # A Ctrl-C in the terminal is for us, and we stop our children in their order.
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes], how: signal.Signals, within: float) -> None:
    """
    Ask a process to end, and kill it if it has not within so many seconds.
    """
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
