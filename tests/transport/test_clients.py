"""
The promise, through each client: back at the deadline, the right outcome, the socket closed.

What is run is a cell of the matrix in `docs/reference/clients.md`, each against a provider of its own.
"""

from __future__ import annotations

import gc

import pytest

from benchmarks.clients.cell import ON_TIME, Record, run_cell
from benchmarks.clients.situations import SITUATIONS, Situation
from benchmarks.clients.subjects import SUBJECTS, Subject

GUARDED = [subject for subject in SUBJECTS.values() if subject.guards_sockets]
# One of each phase, and one of each outcome; all of them through the plain clients.
FEW = {"ok", "tls-stall", "never-read, 6 MB up", "trickle-headers", "stream without end", "reset-in-body", "429", "503"}
CELLS = [
    (subject, situation)
    for subject in GUARDED
    for situation in SITUATIONS.values()
    if situation.name in FEW or subject.name in ("httpx", "httpx2", "requests")
]
# A test shares two cores with others and with its own provider: what is late once may have waited for a core. What is
# late three times was late.
TRIES = 3


def best(subject: Subject, situation: Situation) -> Record:
    """
    Run a cell until it is on time, three times at most.
    """
    # To put 6 MB into JSON takes a part of the time.
    deadline = 0.3 if situation.upload else 0.15
    record = run_cell(subject, situation, deadline=deadline)
    for _ in range(TRIES - 1):
        if record.late(1.0) <= ON_TIME + subject.lingers * 1e3:
            break
        record = run_cell(subject, situation, deadline=deadline)
    return record


# litellm's own models warn when it is imported.
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
# On trio, httpx leaves the generator of a body that it cannot send to the garbage collector, and so does openai with a
# stream of which it has read the end.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize(
    ("subject", "situation"), CELLS, ids=[f"{subject.key}-{situation.name}" for subject, situation in CELLS]
)
def test_every_call_ends_on_time(subject: Subject, situation: Situation) -> None:
    """
    Whatever the provider does, and whatever the client makes of it.
    """
    if not subject.installed:
        pytest.skip(f"{subject.key} is not installed; it is in the dependency group sdks")

    record = best(subject, situation)
    if "trio" == subject.backend:
        gc.collect()  # while the warnings filtered are this test's

    assert record.late(1.0) <= ON_TIME + subject.lingers * 1e3
    assert [record.expected] == record.outcomes
    assert record.closed is not False
    if situation.hangs:
        assert [record.expected_phase] == record.phases
        assert ["clean"] == record.receipts


@pytest.mark.parametrize("situation", ["silent", "trickle-body", "tls-stall"])
def test_requests_as_it_is(situation: str) -> None:
    """
    Without a guarded session its calls are made in a thread, and the caller is back after the grace at the latest.
    """
    subject = SUBJECTS["requests, as it is sync"]

    record = run_cell(subject, SITUATIONS[situation])

    assert record.late(1.0) <= record.allowed
    assert ["timeout"] == record.outcomes


@pytest.mark.parametrize("situation", ["reset-in-body", "wrong-length", "close-early"])
def test_requests_loses_its_connection(situation: str) -> None:
    """
    requests has a name of its own for an answer that breaks off, and keeps it apart from its ConnectionError.
    """
    assert ["connection"] == run_cell(SUBJECTS["requests sync"], SITUATIONS[situation]).outcomes
