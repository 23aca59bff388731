"""
Guards' names as a page may show them: the guards of a set are named by their keys, and a key may be a secret.
"""

from __future__ import annotations

import hashlib
import re

# In steps, each of which reads a name once: one pattern for all took 7.5 s for a name of 1,000 letters, at each look.
_WORD = re.compile(r"[\w.~+/=@-]+")
_PART = re.compile(r"[\w.+@-]+")
_ADDRESS = re.compile(r"[\w.+-]@[\w.-]")
_RUN = re.compile(r"[A-Za-z\d]{16,}")


def shown(name: str) -> str:
    """
    Write *name* such that it gives away no key, and still tells one guard from another.

    >>> shown("openai-images[us-central1-a/gpt-image-1]")
    'openai-images[us-central1-a/gpt-image-1]'
    >>> shown("images[sk-proj-4f9a8b7c6d5e4f3a2b1c]")
    'images[sk-...b8d3]'
    """
    return _WORD.sub(_hidden, name)


def fingerprint(name: str) -> str:
    """
    What names a guard to the page and in its requests, whatever is in its name.
    """
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]


def _hidden(found: re.Match[str]) -> str:
    word = found.group()
    return _short(word) if any(map(_is_made, _RUN.findall(word))) else _PART.sub(_without_address, word)


def _is_made(run: str) -> bool:
    # By no human: API keys and tokens have letters and digits in one run.
    return any(each.isdecimal() for each in run) and not run.isdecimal()


def _without_address(found: re.Match[str]) -> str:
    part = found.group()
    return _short(part) if _ADDRESS.search(part) else part


def _short(word: str) -> str:
    return f"{word[:3]}...{hashlib.sha256(word.encode(errors='replace')).hexdigest()[:4]}"
