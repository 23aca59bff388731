"""
Looking at another thread's frames, while threads come and go and garbage with a `__del__` is collected.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

# CPython 3.11.7 deadlocks here without what `frame_of` does (gh-106883); 3.10.13, 3.12.1 and 3.13.0 do not. So it is
# tried in a process that can be killed.
PROGRAM = """
    import gc, sys, threading, time
    from hungframe.abort.where import of_thread

    class Garbage:
        def __init__(self):
            self.me = self
        def __del__(self):
            time.sleep(0)

    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)

    def look():
        for _ in range(1500):
            Garbage()
            of_thread(main)

    def come_and_go():
        for _ in range(300):
            thread = threading.Thread(target=Garbage)
            thread.start()
            thread.join()

    main = threading.get_ident()
    threads = [threading.Thread(target=each) for each in (look, look, come_and_go, come_and_go)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("all back", gc.isenabled())
"""


def test_looking_never_deadlocks() -> None:
    """
    All threads are back, and the garbage collector is on as before.
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, timeout=20)

    assert "all back True\n" == told.stdout, told.stderr
