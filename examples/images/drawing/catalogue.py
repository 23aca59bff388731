"""
Which models there are, and which sizes each of them draws.

Data, as of openai 3.57. The API is handed `sizes()` by the bootstrap, so that it refuses what no model draws before it
costs a job. Whoever runs another provider writes another mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Model:
    """
    What one model takes.

    Attributes:
        sizes: Those it draws, the smallest first.

        takes_response_format: Whether it can be asked for a url or for base64. A GPT image model refuses the parameter
            and always sends base64.

        retired: Whether OpenAI has shut it down. Other providers of the same API may still serve it.
    """

    sizes: tuple[str, ...]
    takes_response_format: bool = False
    retired: bool = False


_GPT = Model(("1024x1024", "1024x1536", "1536x1024", "auto"))

#: The models by name. GPT image models from 2 on draw other sizes as well; these are the ones that all draw.
CATALOGUE: Mapping[str, Model] = MappingProxyType(
    {
        "gpt-image-2.6-flare": _GPT,
        "gpt-image-2.6-sunburst": _GPT,
        "gpt-image-2.5-flare": _GPT,
        "gpt-image-2.5-sunburst": _GPT,
        "gpt-image-2": _GPT,
        "gpt-image-1.5": _GPT,
        "gpt-image-1-mini": _GPT,
        "gpt-image-1": Model(_GPT.sizes, retired=True),
        "dall-e-3": Model(("1024x1024", "1024x1792", "1792x1024"), takes_response_format=True, retired=True),
        "dall-e-2": Model(("256x256", "512x512", "1024x1024"), takes_response_format=True, retired=True),
    }
)


def sizes(*, retired: bool = False, catalogue: Mapping[str, Model] = CATALOGUE) -> Mapping[str, tuple[str, ...]]:
    """
    Name each model's sizes.

    Args:
        retired: Whether to name the models, too, that OpenAI has shut down.

        catalogue: The models.
    """
    return {name: model.sizes for name, model in catalogue.items() if retired or not model.retired}
