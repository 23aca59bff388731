"""
The guard on the read path: what a row must hold to be shown to a client.

Nothing here knows of a database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from examples.images.ports import Frame

# As the constraint of the database, which old rows may precede: an address of the web, or a path of our own.
_URL = re.compile(r"(?:https?:/)?/[^/\s]\S*", re.IGNORECASE)

# What no browser loads and \s knows nothing of.
_UNSEEN = re.compile("[\\x00-\\x20\\x7f-\\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class Row:
    """
    A row of the table, which may be from before its columns were checked.
    """

    id: int
    job_id: UUID | None
    image_url: str | None
    created_at: datetime


def is_shown(image_url: str | None) -> bool:
    """
    Tell whether a client could load an image from *image_url*.
    """
    return image_url is not None and _URL.fullmatch(image_url) is not None and not _UNSEEN.search(image_url)


def shown(row: Row) -> Frame | None:
    """
    Make the frame that a client gets; None: the row has no image.
    """
    if row.image_url is None or not is_shown(row.image_url):
        return None
    return Frame(id=row.id, job_id=row.job_id, image_url=row.image_url, created_at=row.created_at)


@dataclass(frozen=True, slots=True)
class Part:
    """
    What a page takes of the rows that were read for it.

    Attributes:
        frames: To be shown, in order.

        bad: The ids of the rows without an image between them.

        more: Whether another good row follows.
    """

    frames: Sequence[Frame]
    bad: Sequence[int]
    more: bool


def part(rows: Sequence[Row], limit: int) -> Part:
    """
    Take rows until *limit* of them are good and another good one follows.

    A bad row is taken with the good one that follows it, so that the pages of a table name it once: those behind a
    page's last frame belong to the next page, if there is one.
    """
    frames: list[Frame] = []
    bad: list[int] = []
    since_last: list[int] = []
    for row in rows:
        frame = shown(row)
        if frame is None:
            since_last.append(row.id)
        elif len(frames) == limit:
            return Part(frames, bad, more=True)
        else:
            frames.append(frame)
            bad += since_last
            since_last = []
    return Part(frames, bad + since_last, more=False)
