"""
What the API answers, over real sockets: jobs, frames, images, the workers' health; and what without its database.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from examples.images.api.app import create_app
from examples.images.api.health import reasons_against
from examples.images.api.idempotency import key_of
from examples.images.board.health import PostgresBoard
from examples.images.board.statements import MIGRATIONS
from examples.images.ports import ImageRequest
from examples.images.start.postgres import Postgres
from tests.examples.images.api_parts import (
    CATALOGUE,
    NOON,
    BoardInMemory,
    FramesInMemory,
    Job,
    QueueInMemory,
    gradient,
    served,
)

PICTURE = gradient(200, 120, 60)


@dataclass
class Behind:
    """
    What stands behind the API, and where the API is.
    """

    queue: QueueInMemory = field(default_factory=QueueInMemory)
    frames: FramesInMemory = field(default_factory=FramesInMemory)
    board: BoardInMemory = field(default_factory=BoardInMemory)
    address: str = ""

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> Any:
        return ask(self.address, method, path, document, **headers)


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    behind = Behind()
    app = create_app(
        behind.queue,
        behind.frames,
        behind.board,
        catalogue=CATALOGUE,
        default_model="gpt-image-1",
        oldest_age=behind.queue.oldest_age,
        health_kept_for=0,
    )
    with served(app) as behind.address:
        yield behind


@pytest.fixture
def api(behind: Behind) -> Behind:
    """
    One server for all, with nothing behind it when a test begins.
    """
    behind.queue.jobs.clear()
    behind.frames.frames.clear()
    behind.frames.images.clear()
    behind.frames.dropped = 0
    behind.board.workers.clear()
    return behind


def ask(address: str, method: str, path: str, document: Any = None, **headers: str) -> Any:
    """
    The status, the headers, and the JSON or the bytes that are answered.
    """
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None
    if document is not None:
        body, given["Content-Type"] = json.dumps(document), "application/json"
    try:
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        content = answer.read()
        is_json = content and "json" in answer.headers.get("Content-Type", "")
        return answer.status, answer.headers, json.loads(content) if is_json else content
    finally:
        connection.close()


def until(holds: Callable[[], bool], within: float = 5.0) -> None:
    """
    Wait until it holds.
    """
    ends_at = time.monotonic() + within
    while not holds():
        assert time.monotonic() < ends_at, f"not within {within} s"
        time.sleep(0.01)


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_new_job_is_accepted_and_a_repeat_is_the_same_job(api: Behind) -> None:
    """
    202 and a Location; then 200 and the same. Defaults that are written out, and another urgency, make no other job.
    """
    status, headers, job = api.ask("POST", "/jobs", {"prompt": "a kite"})
    assert 202 == status
    assert headers["Location"] == job["links"]["self"] == f"/jobs/{job['id']}"
    assert ("queued", 0, None, None) == (job["state"], job["attempts"], job["reason"], job["links"]["frame"])

    same = {"prompt": "a kite", "model": "gpt-image-1", "size": "1024x1024", "seed": 0, "urgency": 9}
    status, headers, again = api.ask("POST", "/jobs", same)
    assert (200, job["links"]["self"]) == (status, headers["Location"])
    assert job == again

    for other in ({"seed": 1}, {"size": "1536x1024"}, {"model": "dall-e-2"}, {"prompt": "a  kite"}):
        assert 202 == api.ask("POST", "/jobs", {"prompt": "a kite", **other})[0]


def test_what_is_queued_is_what_the_key_is_of(api: Behind) -> None:
    """
    The prompt goes into the queue in the form that was hashed, and the key of the payload is the job's.
    """
    api.ask("POST", "/jobs", {"prompt": " cafe\u0301\n", "seed": 7, "urgency": 3})
    ((key, job),) = api.queue.jobs.items()
    assert {"prompt": " café\n", "model": "gpt-image-1", "size": "1024x1024", "seed": 7} == job.payload
    assert key_of(ImageRequest(**job.payload)) == key
    assert 3 == job.urgency


def test_an_idempotency_key_header_changes_nothing(api: Behind) -> None:
    """
    The key is made of what is asked for: another header makes no second image, and the same one no wrong image.
    """
    first = api.ask("POST", "/jobs", {"prompt": "a"}, Idempotency_Key="1")[2]
    assert (200, first) == api.ask("POST", "/jobs", {"prompt": "a"}, Idempotency_Key="2")[::2]
    assert 202 == api.ask("POST", "/jobs", {"prompt": "b"}, Idempotency_Key="1")[0]


def test_a_job_tells_how_it_ended(api: Behind) -> None:
    """
    Done: with the address of its frame. Dead: with the reason.
    """
    kite, boat = (api.ask("POST", "/jobs", {"prompt": prompt})[2]["links"]["self"] for prompt in ("kite", "boat"))
    api.queue.end(UUID(kite[6:]), "done")
    api.queue.end(UUID(boat[6:]), "dead", "no-image-url")

    assert api.ask("GET", kite)[2]["links"]["frame"] is None
    api.frames.add("kite.png", PICTURE, job_id=UUID(kite[6:]))
    status, headers, job = api.ask("GET", kite)
    assert (200, "no-store") == (status, headers["Cache-Control"])
    assert ("done", 1, "/images/kite.png") == (job["state"], job["attempts"], job["links"]["frame"])
    assert NOON.isoformat() == job["finished_at"]
    assert 200 == api.ask("GET", job["links"]["frame"])[0]

    job = api.ask("GET", boat)[2]
    assert ("dead", "no-image-url", None) == (job["state"], job["reason"], job["links"]["frame"])


def test_the_catalogue_is_there_for_forms(api: Behind) -> None:
    """
    What it lists is what POST /jobs takes.
    """
    catalogue = api.ask("GET", "/catalogue")[2]
    assert "gpt-image-1" == catalogue["default_model"]
    for model, of_it in catalogue["models"].items():
        for size in of_it["sizes"]:
            assert 202 == api.ask("POST", "/jobs", {"prompt": "x", "model": model, "size": size})[0]


# --- frames and images ------------------------------------------------------------------------------------------------


def test_frames_come_page_by_page(api: Behind) -> None:
    """
    Following `next` gives each frame once, oldest first; it is null at the end.
    """
    for number in range(5):
        api.frames.add(f"{number}.png", PICTURE)
    api.frames.dropped = 2
    seen: list[int] = []
    path: str | None = "/frames?limit=2"
    while path:
        status, _, page = api.ask("GET", path)
        assert (200, 2) == (status, page["dropped"])
        seen += [frame["id"] for frame in page["frames"]]
        path = page["next"]
    assert [1, 2, 3, 4, 5] == seen
    assert {"id": 5, "job_id": None, "image_url": "/images/4.png", "created_at": NOON.isoformat()} == page["frames"][-1]
    assert {"frames": [], "dropped": 2, "next": None} == api.ask("GET", "/frames?after=5")[2]


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_an_image_is_kept_for_ever(api: Behind, media_type: str) -> None:
    """
    The bytes, their media type and an ETag; no sniffing, and no script where it is opened as a page.
    """
    api.frames.add("a", PICTURE, media_type)
    status, headers, content = api.ask("GET", "/images/a")
    assert (200, PICTURE, media_type) == (status, content, headers["Content-Type"])
    assert "public, max-age=31536000, immutable" == headers["Cache-Control"]
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "content, media_type", [(b"<svg/>", "image/svg+xml"), (b"<p>", "text/html"), (b"", "image/png")]
)
def test_what_is_no_image_does_not_leave_as_one(api: Behind, content: bytes, media_type: str) -> None:
    """
    Whatever the store holds: a program or nothing is 404.
    """
    api.frames.add("a", content, media_type)
    assert 404 == api.ask("GET", "/images/a")[0]


def test_an_image_whose_bytes_have_changed_is_not_served(api: Behind, caplog: pytest.LogCaptureFixture) -> None:
    """
    Its name is the SHA-256 of what was stored; where the store gives other bytes, it is 404 and logged.
    """
    name = hashlib.sha256(PICTURE).hexdigest()
    api.frames.add(f"{name}.png", PICTURE)
    assert 200 == api.ask("GET", f"/images/{name}.png")[0]
    api.frames.add(f"{name}.png", PICTURE.replace(b"IDAT", b"IDAU"))
    assert 404 == api.ask("GET", f"/images/{name}.png")[0]
    assert "they have changed in the store" in caplog.text


@pytest.mark.parametrize("path", ["/images/a", "/", "/page/page.css", "/page/slideshow.js"])
def test_who_has_it_already_gets_nothing(api: Behind, path: str) -> None:
    """
    304 for the ETag, alone, weak, in a list or as a star; 200 for another one.
    """
    api.frames.add("a", PICTURE)
    etag = api.ask("GET", path)[1]["ETag"]
    for same in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        status, headers, content = api.ask("GET", path, If_None_Match=same)
        assert (304, b"", etag) == (status, content, headers["ETag"])
        assert headers["Cache-Control"]
    assert 200 == api.ask("GET", path, If_None_Match='"x"')[0]


@pytest.mark.parametrize(
    "path", ["/", "/frames", "/images/a", "/internal/gen-health", "/catalogue", "/problems/not-json"]
)
def test_head_is_get_without_the_body(api: Behind, path: str) -> None:
    """
    The same status and headers.
    """
    api.frames.add("a", PICTURE)
    api.board.workers["w"] = {"state": "closed"}
    status, of_get, _ = api.ask("GET", path)
    head = api.ask("HEAD", path)
    assert (status, b"") == (head[0], head[2])
    assert {**of_get, "date": ""} == {**head[1], "date": ""}


def test_the_page_brings_its_own_policy(api: Behind) -> None:
    """
    No inline script or style, nothing from elsewhere; and each file that it names is there.
    """
    _, headers, page = api.ask("GET", "/")
    directives = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"} <= set(directives)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert b"style=" not in page and b"onclick" not in page
    for path in ("/page/page.css", "/page/page.js", "/page/icon.svg"):
        assert path.encode() in page
        assert 200 == api.ask("GET", path)[0]


# --- health -----------------------------------------------------------------------------------------------------------


def test_health_shows_workers_and_queue(api: Behind) -> None:
    """
    200 with what each worker said, how many jobs there are, and how old the oldest is.
    """
    snapshot = {"state": "closed", "budget": 5, "timeout": 60.0, "orphans": 0}
    api.board.workers["w:1"] = snapshot
    api.ask("POST", "/jobs", {"prompt": "a"})
    status, _, health = api.ask("GET", "/internal/gen-health")
    assert (200, True, []) == (status, health["ready"], health["reasons"])
    assert [{"worker": "w:1", "seen_seconds_ago": 0.5, "snapshot": snapshot}] == health["workers"]
    assert {"counts": {"queued": 1, "running": 0, "done": 0, "dead": 0}, "oldest_seconds": 12.5} == health["queue"]


@pytest.mark.parametrize(
    "states, reasons",
    [
        ([], ["no-worker"]),
        (["open"], ["all-breakers-open"]),
        (["open", "forced_open"], ["all-breakers-open"]),
        (["open", "closed"], []),
        (["open", "half_open"], []),
        (["open", "disabled"], []),
        (["open", None], []),
    ],
)
def test_ready_is_where_one_worker_may_draw(states: Sequence[str | None], reasons: Sequence[str]) -> None:
    """
    Not ready: nobody works, or each breaker is open.
    """
    assert reasons == reasons_against([{"snapshot": {"state": state} if state else {}} for state in states])


def test_health_says_503_where_no_image_can_be_expected(api: Behind) -> None:
    """
    With the same names in the document as ever.
    """
    status, _, health = api.ask("GET", "/internal/gen-health")
    assert (503, False, ["no-worker"]) == (status, health["ready"], health["reasons"])
    assert {"ready", "reasons", "workers", "queue"} == health.keys()


def test_jobs_too_many_to_be_counted_in_time_are_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    """
    The counts are null, and not tried again for a while; whether images can be expected is another matter.
    """
    asked = 0

    class Millions(QueueInMemory):
        async def counts(self) -> Mapping[str, int]:
            nonlocal asked
            asked += 1
            await asyncio.sleep(30)
            return await super().counts()

    async def oldest_age() -> float:
        return 12.5

    app = create_app(
        Millions(),
        FramesInMemory(),
        BoardInMemory({"w:1": {"state": "closed"}}),
        catalogue=CATALOGUE,
        default_model="dall-e-2",
        oldest_age=oldest_age,
        patience=0.2,
        health_kept_for=0,
    )
    with served(app) as address:
        for _ in range(3):
            status, _, health = ask(address, "GET", "/internal/gen-health")
            assert (200, [], ["w:1"]) == (status, health["reasons"], [each["worker"] for each in health["workers"]])
            assert {"counts": None, "oldest_seconds": 12.5} == health["queue"]
    assert 1 == asked


def test_many_who_ask_how_it_is_are_one_to_the_database() -> None:
    """
    Its answer is kept for a moment, and who comes while one asks waits for the same.
    """
    asked = 0

    class Counts(QueueInMemory):
        async def counts(self) -> Mapping[str, int]:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.05)
            return await super().counts()

    app = create_app(
        Counts(), FramesInMemory(), BoardInMemory(), catalogue=CATALOGUE, default_model="dall-e-2", health_kept_for=60
    )
    with served(app) as address, ThreadPoolExecutor(8) as viewers:
        answers = list(viewers.map(lambda _: ask(address, "GET", "/internal/gen-health"), range(24)))
    assert 1 == asked
    assert 1 == len({json.dumps(document) for _, _, document in answers})


# --- without the database ---------------------------------------------------------------------------------------------

SECRET = "password=hunter2, prompt: a kite"


class Away:
    """
    All three ports, over a database that is away.
    """

    async def fail(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError(f"connection refused\nDETAIL: {SECRET}")

    enqueue = get = counts = page = of_job = image = post = read = fail


class Hangs(Away):
    """
    The same, over one that never answers, and whose driver does not let itself be cancelled.
    """

    async def fail(self, *args: Any, **kwargs: Any) -> Any:
        ends_at = time.monotonic() + 1.5
        while time.monotonic() < ends_at:
            try:
                await asyncio.sleep(ends_at - time.monotonic())
            except asyncio.CancelledError:
                continue

    enqueue = get = counts = page = of_job = image = post = read = fail


REQUESTS = [
    ("POST", "/jobs", {"prompt": "a kite"}),
    ("GET", f"/jobs/{uuid4()}", None),
    ("GET", "/frames", None),
    ("GET", "/images/a.png", None),
]


@pytest.mark.parametrize("behind", [Away(), Hangs()], ids=["away", "hangs"])
def test_a_database_that_is_away_is_a_503_in_time(behind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    Told with Retry-After, and without a word of what the error said, which is in the log, but for the rows in it.
    """
    app = create_app(behind, behind, behind, catalogue=CATALOGUE, default_model="dall-e-2", patience=0.05)
    with caplog.at_level(logging.ERROR), served(app) as address:
        for method, path, document in REQUESTS:
            began = time.monotonic()
            status, headers, problem = ask(address, method, path, document)
            assert time.monotonic() - began < 1.2
            assert (503, "application/problem+json") == (status, headers["Content-Type"])
            assert int(headers["Retry-After"]) >= 1
            assert "/problems/unavailable" == problem["type"]
            assert "refused" not in str(problem) and "hunter2" not in str(problem)
        status, _, health = ask(address, "GET", "/internal/gen-health")
        assert (503, ["database-away"], []) == (status, health["reasons"], health["workers"])
        assert {"counts": None, "oldest_seconds": None} == health["queue"]
        assert 200 == ask(address, "GET", "/")[0]
    logged = [record for record in caplog.records if record.name == "examples.images.api.database"]
    assert len(REQUESTS) + 1 == len(logged)
    assert "answered with 503" in caplog.text
    assert SECRET not in caplog.text and "Traceback" not in caplog.text


def test_an_error_of_our_own_is_a_500_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """
    A problem document, with the headers of all answers; the server's log has the traceback.
    """

    class NoJob(QueueInMemory):
        async def get(self, job_id: UUID) -> Job | None:
            return object()  # type: ignore[return-value]

    app = create_app(NoJob(), FramesInMemory(), BoardInMemory(), catalogue=CATALOGUE, default_model="dall-e-2")
    with served(app) as address:
        status, headers, problem = ask(address, "GET", f"/jobs/{uuid4()}")
    assert (500, "application/problem+json", "nosniff") == (
        status,
        headers["Content-Type"],
        headers["X-Content-Type-Options"],
    )
    assert "attribute" not in str(problem)


def test_a_client_that_hangs_up_keeps_its_job() -> None:
    """
    The job that was begun to be queued is queued, or it is not: never half. Asking again gives the same one.
    """

    class Slow(QueueInMemory):
        async def enqueue(self, key: bytes, payload: Mapping[str, Any], *, urgency: int = 0) -> Job:
            await asyncio.sleep(0.1)
            return await super().enqueue(key, payload, urgency=urgency)

    queue = Slow()
    app = create_app(queue, FramesInMemory(), BoardInMemory(), catalogue=CATALOGUE, default_model="dall-e-2")
    with served(app) as address:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
        connection.request("POST", "/jobs", '{"prompt": "a"}', {"Content-Type": "application/json"})
        time.sleep(0.05)
        connection.close()
        until(lambda: len(queue.jobs) == 1)
        assert 200 == ask(address, "POST", "/jobs", {"prompt": "a"})[0]


def test_the_pool_is_opened_before_and_closed_after() -> None:
    """
    Both in the application's own event loop, and the close also where opening has failed.
    """
    told: list[tuple[str, object]] = []

    async def opens() -> None:
        told.append(("open", asyncio.get_running_loop()))

    async def fails() -> None:
        raise OSError("no")

    async def closes() -> None:
        told.append(("close", asyncio.get_running_loop()))

    parts = QueueInMemory(), FramesInMemory(), BoardInMemory()
    app = create_app(*parts, catalogue=CATALOGUE, default_model="dall-e-2", on_open=opens, on_close=closes)
    with served(app) as address:
        assert ["open"] == [name for name, _ in told]
        assert 200 == ask(address, "GET", "/frames")[0]
    assert ["open", "close"] == [name for name, _ in told]
    assert told[0][1] is told[1][1]

    told.clear()
    app = create_app(*parts, catalogue=CATALOGUE, default_model="dall-e-2", on_open=fails, on_close=closes)

    async def starts() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(OSError, match="no"):
        asyncio.run(starts())
    assert ["close"] == [name for name, _ in told]


# --- with a real board ------------------------------------------------------------------------------------------------


def test_health_over_postgres_that_goes_and_comes(postgres: Postgres, empty_database: str) -> None:
    """
    What a worker posts is shown; without its server the answer is 503 and in time; with it again, 200, by itself.
    """
    from psycopg_pool import AsyncConnectionPool

    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute((MIGRATIONS / "0001_board.sql").read_bytes())
        pool = AsyncConnectionPool(empty_database, min_size=1, max_size=2, open=False, timeout=0.5, reconnect_timeout=1)
        board = PostgresBoard(pool)

        async def opens() -> None:
            await pool.open()
            await board.post("w", {"state": "closed", "budget": 4})

        app = create_app(
            QueueInMemory(),
            FramesInMemory(),
            board,
            catalogue=CATALOGUE,
            default_model="dall-e-2",
            patience=0.4,
            health_kept_for=0,
            on_open=opens,
            on_close=pool.close,
        )
        with served(app) as address:
            status, _, health = ask(address, "GET", "/internal/gen-health")
            assert (200, {"state": "closed", "budget": 4}) == (status, health["workers"][0]["snapshot"])

            # A lock that nobody lets go, as in a migration gone wrong: the statement waits.
            connection.execute("BEGIN; LOCK TABLE workers IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            assert 503 == ask(address, "GET", "/internal/gen-health")[0]
            assert time.monotonic() - began < 1.5
            connection.execute("ROLLBACK")
            until(lambda: ask(address, "GET", "/internal/gen-health")[0] == 200)

            # Its sessions die: the one that is found dead is a 503, and the pool gets others.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
                "pg_backend_pid()"
            )
            until(lambda: ask(address, "GET", "/internal/gen-health")[0] == 200)
