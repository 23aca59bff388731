"""
Frames and images in Postgres.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from examples.images.frames.guard import Row, part, shown
from examples.images.frames.names import name_of, read_name
from examples.images.ports import Frame, FramePage, Image

logger = logging.getLogger(__name__)

_SQL: Mapping[str, str] = {
    path.stem: path.read_text() for path in sorted((Path(__file__).parent / "sql").glob("*.sql"))
}

_LARGEST_ID = 2**63 - 1
_ROWS_AT_ONCE = 1_000
# Ids that were asked for already are not asked for with each page; this many are known at most.
_ASKED_AT_MOST = 10_000

OnBad = Callable[[Sequence[int]], Awaitable[None]]
"""
Gets the ids of rows that have no image, to have them made again.
"""


class PostgresFrames:
    """
    A `FrameWriter` and a `FrameReader`. It works while the migrations run, from `frames/0002` on.

    Args:
        pool: Open, and not closed here.

        on_bad: Called with the ids of rows without an image, each once a process as a rule; by default they are written
            to the table `frames_refetch`. If it fails, that is logged, and the client gets its page.
    """

    def __init__(self, pool: AsyncConnectionPool[Any], on_bad: OnBad | None = None) -> None:
        self._pool = pool
        self._on_bad = on_bad or self._write_down
        self._asked: set[int] = set()

    # -- writing ----------------------------------------------------------------

    async def insert(self, connection: AsyncConnection[Any], job_id: UUID, image: Image) -> None:
        """
        Store the image of a job, within the transaction of *connection*; a second time changes nothing.

        Raises:
            NoImageError: If the image is empty or of a type that is not served; nothing was sent to the database.
        """
        sha256, image_url = name_of(image)
        await connection.execute(
            _SQL["insert"],
            {
                "job_id": job_id,
                "image_url": image_url,
                "sha256": sha256,
                "media_type": image.media_type,
                "content": image.content,
            },
        )

    # -- reading ----------------------------------------------------------------

    async def page(self, *, after: int = 0, limit: int = 100) -> FramePage:
        """
        Read the frames that follow id *after*, oldest first.

        Rows without an image make a page no shorter: as many as it takes are read.

        Args:
            limit: How many at most, at least 1.

        Raises:
            ValueError: If *limit* is below 1.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        frames: list[Frame] = []
        bad: list[int] = []
        last = min(max(after, 0), _LARGEST_ID)
        at_once = min(limit + 1, _ROWS_AT_ONCE)
        while True:
            missing = limit - len(frames)
            rows = await self._rows("page", {"after": last, "limit": at_once})
            found = part(rows, missing)
            frames += found.frames
            bad += found.bad
            more = found.more
            if more or len(rows) < at_once:
                break
            last = rows[-1].id
            # A long stretch of bad rows is passed in growing strides.
            at_once = min(2 * at_once, _ROWS_AT_ONCE)
        if more:
            # The bad rows behind the last frame were read for this page, and belong to the next one.
            bad = [each for each in bad if each < frames[-1].id]
        await self._ask_again(bad)
        return FramePage(frames=tuple(frames), dropped=len(bad), next_after=frames[-1].id if more else None)

    async def of_job(self, job_id: UUID) -> Frame | None:
        """
        Find the frame of a job; None: there is none, or it has no image.
        """
        rows = await self._rows("of_job", {"job_id": job_id})
        if not rows:
            return None
        frame = shown(rows[0])
        if frame is None:
            await self._ask_again([rows[0].id])
        return frame

    async def image(self, name: str) -> Image | None:
        """
        Find the image that an `image_url` ends with; None: there is none of that name.
        """
        named = read_name(name)
        if named is None:
            return None
        sha256, media_type = named
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SQL["image"], {"sha256": sha256, "media_type": media_type})
            row = await cursor.fetchone()
        return None if row is None else Image(content=row[0], media_type=media_type)

    async def _rows(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Row)) as cursor:
            await cursor.execute(_SQL[statement], values)
            rows: list[Row] = await cursor.fetchall()
            return rows

    # -- rows without an image --------------------------------------------------

    async def _ask_again(self, ids: Sequence[int]) -> None:
        new = [each for each in ids if each not in self._asked]
        if not new:
            return
        logger.warning("frames: %d rows without an image were kept from a client, the first is %d", len(new), new[0])
        try:
            await self._on_bad(new)
        except Exception:
            logger.exception("frames: asking for %d images again has failed; a later read does it", len(new))
            return
        if len(self._asked) + len(new) > _ASKED_AT_MOST:
            self._asked.clear()
        self._asked.update(new[:_ASKED_AT_MOST])

    async def _write_down(self, ids: Sequence[int]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_SQL["ask_again"], {"ids": list(ids)})
