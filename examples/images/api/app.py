"""
The ASGI application: which path is answered by what.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.images.api.catalogue import Catalogue
from examples.images.api.database import Database
from examples.images.api.frames import Frames
from examples.images.api.headers import SafeHeaders
from examples.images.api.health import Health
from examples.images.api.jobs import Jobs
from examples.images.api.page import page_routes
from examples.images.api.problems import HANDLERS, about
from examples.images.ports import FrameReader, HealthBoard, Producer


def create_app(
    queue: Producer,
    frames: FrameReader,
    board: HealthBoard,
    *,
    catalogue: Mapping[str, Collection[str]],
    default_model: str,
    oldest_age: Callable[[], Awaitable[float | None]] | None = None,
    image_sources: Collection[str] = (),
    patience: float = 5.0,
    health_kept_for: float = 1.0,
    on_open: Callable[[], Awaitable[object]] | None = None,
    on_close: Callable[[], Awaitable[object]] | None = None,
) -> Starlette:
    """
    Make the application.

    Args:
        queue: Where jobs go.

        frames: Where images come from.

        board: What the workers say of themselves.

        catalogue: The sizes that each model has.

        default_model: The model of a request that names none.

        oldest_age: Tells for how many seconds the oldest job has waited, or None; for /internal/gen-health.

        image_sources: Origins, such as https://cdn.example.com, besides our own from which the page may show frames.

        patience: Seconds that one call of a port may take.

        health_kept_for: Seconds for which the answer of /internal/gen-health serves all who ask.

        on_open: Awaited in the application's event loop before the first request, such as to open a pool.

        on_close: Awaited there after the last, also where *on_open* has failed.

    Raises:
        ValueError: If the catalogue has a model without a size or is without *default_model*, or *image_sources* are
            no origins.
    """
    known = Catalogue(catalogue, default_model)
    database = Database(patience)
    jobs = Jobs(database, queue, frames, known)
    shown = Frames(database, frames)
    health = Health(database, queue, board, oldest_age, health_kept_for)

    async def list_models(request: Request) -> Response:
        return JSONResponse(known.document(), headers={"Cache-Control": "no-cache"})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            if on_open is not None:
                await on_open()
            yield
        finally:
            if on_close is not None:
                await on_close()

    app = Starlette(
        routes=[
            *page_routes(image_sources),
            Route("/jobs", jobs.post, methods=["POST"]),
            Route("/jobs/{job_id}", jobs.get),
            Route("/frames", shown.page),
            Route("/images/{name}", shown.image),
            Route("/catalogue", list_models),
            Route("/problems/{kind}", about),
            Route("/internal/gen-health", health.get),
        ],
        middleware=[Middleware(SafeHeaders)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # It would name our scheme and host as the request does: who sends a Host of his own chooses where others are led,
    # and behind a proxy that ends TLS everybody is led to http.
    app.router.redirect_slashes = False
    return app
