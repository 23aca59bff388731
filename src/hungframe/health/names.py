"""
Guards' names as a page may show them: the guards of a set are named by their keys, and a key may be a secret.
"""

from __future__ import annotations

import hashlib
import re

# E-mail addresses, and words with a run of letters and digits that no human has made up: API keys, tokens.
_SECRET = re.compile(r"[\w.+-]+@[\w.-]+|[\w.~+/=-]*(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{16,}[\w.~+/=-]*")


def shown(name: str) -> str:
    """
    Write *name* such that it gives away no key, and still tells one guard from another.

    >>> shown("openai-images[us-central1-a/gpt-image-1]")
    'openai-images[us-central1-a/gpt-image-1]'
    >>> shown("images[sk-proj-4f9a8b7c6d5e4f3a2b1c]")
    'images[sk-...b8d3]'
    """
    return _SECRET.sub(_short, name)


def fingerprint(name: str) -> str:
    """
    What names a guard to the page and in its requests, whatever is in its name.
    """
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]


def _short(found: re.Match[str]) -> str:
    word = found.group()
    return f"{word[:3]}...{hashlib.sha256(word.encode(errors='replace')).hexdigest()[:4]}"
