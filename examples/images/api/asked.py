"""
What was asked for: a JSON object becomes an `ImageRequest`, or a list of all that is wrong with it.

Nothing here reads a clock or awaits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from examples.images.api.catalogue import Catalogue
from examples.images.api.idempotency import canonical
from examples.images.api.problems import FieldError, ProblemError
from examples.images.ports import ImageRequest

MAX_PROMPT = 32 * 1024
"""Bytes of UTF-8. What models take is less, and they say so themselves; this keeps the queue's rows small."""

MAX_SEED = 2**32 - 1
"""Where providers know a seed, it has 32 bits."""

MAX_URGENCY = 9

MAX_UNKNOWN = 10
"""Fields that do not exist and are named; of thousands, the answer would be many times as long as what was asked."""

FIELDS = ("prompt", "model", "size", "seed", "urgency")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The image that is asked for, and how urgently, which does not change what it is.
    """

    request: ImageRequest
    urgency: int


def read_asked(document: Mapping[str, Any], catalogue: Catalogue) -> Asked:
    """
    Read what is asked for; what is left out has its default.

    Args:
        document: `prompt`, and maybe `model`, `size`, `seed` (0 if not given) and `urgency` (0, the most urgent is 9).

        catalogue: What there is to ask for.

    Raises:
        ProblemError: With everything that is wrong, and not only the first.
    """
    unknown = [field for field in document if field not in FIELDS]
    none_such = f"there is no such field; there are {', '.join(FIELDS)}"
    errors = [FieldError(field[:100], none_such) for field in unknown[:MAX_UNKNOWN]]
    if len(unknown) > MAX_UNKNOWN:
        errors.append(FieldError("...", f"there are {len(unknown) - MAX_UNKNOWN} more that do not exist"))
    prompt = _prompt(document, errors)
    model = _choice(document, "model", catalogue.models, catalogue.default_model, errors)
    if model is None:
        size = None
    else:
        size = _choice(document, "size", catalogue.models[model], catalogue.default_size(model), errors, of=model)
    seed = _whole(document, "seed", MAX_SEED, errors)
    urgency = _whole(document, "urgency", MAX_URGENCY, errors)
    if errors or prompt is None or model is None or size is None or seed is None or urgency is None:
        wrong = ", ".join(dict.fromkeys(error.field for error in errors))
        raise ProblemError(422, f"cannot draw this; see errors: {wrong}", kind="invalid-request", errors=errors)
    return Asked(ImageRequest(prompt=prompt, model=model, size=size, seed=seed), urgency)


def _prompt(document: Mapping[str, Any], errors: list[FieldError]) -> str | None:
    prompt = document.get("prompt")
    wrong = None
    if "prompt" not in document:
        wrong = "is missing; say in words what to draw"
    elif not isinstance(prompt, str):
        wrong = f"must be a string, got {_shown(prompt)}"
    elif _is_blank(prompt):
        wrong = "is blank; say in words what to draw"
    elif "\0" in prompt:
        wrong = f"has a NUL at character {prompt.index(chr(0))}, which cannot be stored; leave it out"
    elif _has_surrogate(prompt):
        wrong = "has half a surrogate pair, which is no character; send both halves, or the character itself"
    else:
        prompt = canonical(prompt)
        if (size := len(prompt.encode())) > MAX_PROMPT:
            wrong = f"is {size} bytes of UTF-8, and must be at most {MAX_PROMPT}; shorten it"
    if wrong:
        errors.append(FieldError("prompt", wrong))
        return None
    return prompt


def _choice(
    document: Mapping[str, Any],
    field: str,
    known: Mapping[str, object] | tuple[str, ...],
    default: str,
    errors: list[FieldError],
    *,
    of: str = "",
) -> str | None:
    value = document.get(field, default)
    if isinstance(value, str) and value in known:
        return value
    choices = ", ".join(known)
    errors.append(
        FieldError(
            field, f"must be one of {choices}{f' with {of}' if of else ''}, got {_shown(value)}; or leave it out"
        )
    )
    return None


def _whole(document: Mapping[str, Any], field: str, most: int, errors: list[FieldError]) -> int | None:
    value = document.get(field, 0)
    # JSON's true is no number, though Python counts it among them.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    errors.append(
        FieldError(field, f"must be a whole number from 0 to {most}, got {_shown(value)}; or leave it out, for 0")
    )
    return None


def _is_blank(prompt: str) -> bool:
    """
    Tell whether there is nothing to see: spaces (Z), controls and characters without a shape (C), and no other.
    """
    # Characters that this Python's Unicode does not know yet (Cn) may well be seen.
    return all(unicodedata.category(character) in _UNSEEN for character in prompt)


_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: object) -> str:
    """
    Name a JSON value in a few characters.
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > 10**40:
        return "a very large number"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
