"""
What is asked of the provider for one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from examples.images.ports import ImageRequest

from .catalogue import CATALOGUE, Model


@dataclass(frozen=True, slots=True)
class Asking:
    """
    How to ask.

    Attributes:
        send_seed: Whether to send the seed. OpenAI's images have none, and refuse what they do not know; other
            providers of the same API draw by it. Sent or not, it is part of the job's idempotency key.

        response_format: The form to ask for, of a model that can be asked. A url expires and has to be fetched: with
            base64 there is one request less that can fail.

        catalogue: What is known of the models. A model it does not know is asked for with what all of them take.

    Raises:
        ValueError: If *response_format* is neither `b64_json` nor `url`.
    """

    send_seed: bool = False
    response_format: Literal["b64_json", "url"] = "b64_json"
    catalogue: Mapping[str, Model] = field(default_factory=lambda: CATALOGUE)

    def __post_init__(self) -> None:
        if self.response_format not in ("b64_json", "url"):
            raise ValueError(f"response_format must be 'b64_json' or 'url', got {self.response_format!r}")

    def parameters(self, request: ImageRequest) -> dict[str, Any]:
        """
        Give the arguments of `images.generate`.
        """
        asked: dict[str, Any] = {"prompt": request.prompt, "model": request.model, "size": request.size, "n": 1}
        known = self.catalogue.get(request.model)
        if known is not None and known.takes_response_format:
            asked["response_format"] = self.response_format
        if self.send_seed:
            asked["extra_body"] = {"seed": request.seed}
        return asked
