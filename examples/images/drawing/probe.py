"""
Asking whether the provider is well again, without a job.

For `hungframe.recovery.Prober`, which wants a function without arguments::

    Prober(functools.partial(probe, images, model="gpt-image-1-mini"))
"""

from __future__ import annotations

from typing import Protocol

from examples.images.ports import Image, ImageRequest, ImageService

from .catalogue import CATALOGUE

PROMPT = "abstract geometric shape, no text"

_CHEAPEST = "gpt-image-1-mini"
_COMMON_SIZE = "1024x1024"


class SyncImageService(Protocol):
    """
    As `ImageService`, and not awaited.
    """

    def draw(self, request: ImageRequest) -> Image: ...


def request(model: str = _CHEAPEST) -> ImageRequest:
    """
    Say what a probe asks for: always the same, and as little as *model* draws.
    """
    known = CATALOGUE.get(model)
    return ImageRequest(PROMPT, model, known.sizes[0] if known else _COMMON_SIZE, seed=0)


async def probe(service: ImageService, model: str = _CHEAPEST) -> None:
    """
    Have one image drawn and looked at, and let it go.

    A prober marks what its probe brings with `no_store`. This one brings nothing: what is not there cannot be stored.

    Args:
        service: Draws it.

        model: The one whose health matters; the cheapest if not given.

    Raises:
        NoImageError: If what came is no image: a provider that sends none is not well. What else *service* raises.
    """
    await service.draw(request(model))


def probe_sync(service: SyncImageService, model: str = _CHEAPEST) -> None:
    """
    As `probe`, in the caller's thread.
    """
    service.draw(request(model))
