"""
The images of OpenAI's API: those that are one, and those that only look like an answer.

Values in, values out; the same request gets the same picture.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

from .http import Answer
from .payload import json_answer
from .picture import picture

_MOST_IMAGES = 10
_NO_IMAGE = b"<html><body>This is no image.</body></html>"
# The shape of a refusal, under a status that says all is well.
_ERROR = {
    "message": "The hostile provider has drawn nothing.",
    "type": "image_generation_error",
    "param": None,
    "code": "no_image",
}


def images(asked: dict[str, Any], url: str) -> dict[str, Any]:
    """
    Draw as many images as are asked for, as base64 or behind a link to ourselves.
    """
    by_url = asked.get("response_format") == "url"
    name = _name(asked)
    data = [
        {"url": f"{url}/frames/{name}-{index}.png"} if by_url else _base64(picture(f"{name}-{index}"))
        for index in range(_image_count(asked))
    ]
    return {"created": int(time.time()), "data": data}


def frame(path: str) -> Answer | None:
    """
    Serve the picture behind such a link; None where the path is no frame's.
    """
    name = path.removeprefix("/frames/")
    if name == path or not name.endswith(".png"):
        return None
    return Answer(200, "image/png", (picture(name.removesuffix(".png")),))


def spoiled(act: str, answer: Answer) -> Answer:
    """
    Take the image out of an honest answer, or break it, as the modes ``image-...`` say.

    A link stays as it is where the bytes behind it are what is broken. An
    answer that holds no image stays honest.
    """
    if answer.content_type == "image/png":
        return _broken_frame(act, answer)
    said = json.loads(answer.body())
    if "created" not in said or "data" not in said:
        return answer
    if act == "image-error-body":
        return json_answer({"error": _ERROR})
    if act == "image-no-data":
        return json_answer({**said, "data": []})
    return json_answer({**said, "data": [_without_image(act, image) for image in said["data"]]})


def _broken_frame(act: str, answer: Answer) -> Answer:
    content = answer.body()
    broken = {"image-broken-bytes": _NO_IMAGE, "image-truncated": content[: len(content) // 2]}.get(act, content)
    return Answer(answer.status, answer.content_type, (broken,), answer.headers)


def _without_image(act: str, image: dict[str, Any]) -> dict[str, Any]:
    if act == "image-empty-url":
        return {"url": ""}
    if act == "image-null-url":
        return {"url": None}
    if "b64_json" not in image:
        return image
    content = base64.b64decode(image["b64_json"])
    return _base64(_NO_IMAGE if act == "image-broken-bytes" else content[: len(content) // 2])


def _base64(content: bytes) -> dict[str, Any]:
    return {"b64_json": base64.b64encode(content).decode()}


def _name(asked: dict[str, Any]) -> str:
    """
    Name what is asked for: by its prompt, and by its seed where it has one.
    """
    named = str(asked.get("prompt", ""))
    if "seed" in asked:
        named += f"\0{asked['seed']}"
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _image_count(asked: dict[str, Any]) -> int:
    count = asked.get("n", 1)
    return max(1, min(count, _MOST_IMAGES)) if isinstance(count, int) else 1
