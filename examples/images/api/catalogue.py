"""
Which models there are, and the sizes of each: what a request is held against, and what a form offers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any


class Catalogue:
    """
    The models that may be asked for, and the one that is taken where none is named.

    Args:
        models: The sizes of each model. The first is taken where none is named; of a set, which has no first,
            the first in alphabetical order.

        default_model: One of them.

    Raises:
        ValueError: If a model has no size, or *default_model* is not among them.
    """

    def __init__(self, models: Mapping[str, Collection[str]], default_model: str) -> None:
        self.models: Mapping[str, tuple[str, ...]] = {
            model: tuple(sorted(sizes) if isinstance(sizes, Set) else sizes) for model, sizes in models.items()
        }
        for model, sizes in self.models.items():
            if not sizes:
                raise ValueError(f"catalogue: model {model!r} has no size; name one at least, or leave it out")
        if default_model not in self.models:
            raise ValueError(f"default_model must be one of {', '.join(self.models)}, got {default_model!r}")
        self.default_model = default_model

    def default_size(self, model: str) -> str:
        """
        Name the size that is taken where none is asked for.
        """
        return self.models[model][0]

    def document(self) -> dict[str, Any]:
        """
        Write it as a JSON object, for forms.
        """
        return {
            "default_model": self.default_model,
            "models": {model: {"sizes": list(sizes)} for model, sizes in self.models.items()},
        }
