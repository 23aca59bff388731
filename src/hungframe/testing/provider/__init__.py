"""
A provider that fails on purpose, over real sockets.

:class:`HostileProvider` serves HTTP on the loopback interface and, for each
request, plays a *mode*:

``ok``
    Answers at once, as the API does whose path it is, streamed where that
    was asked for: ``/v1/images/generations``, ``/v1/chat/completions`` and
    ``/v1/models`` as OpenAI, ``/openai/v1/...`` as Groq, ``/v1/messages`` as
    Anthropic, ``...:generateContent`` as Gemini, ``/api/chat`` and
    ``/api/generate`` as Ollama; any other path with ``{"ok": true}``.
``sleep:<seconds>``
    Answers after a while.
``silent``
    Reads the request and never answers.
``trickle-headers[:<interval>]``, ``trickle-body[:<interval>]``
    Sends its headers, or its body, one byte each interval (0.05 s). No
    timeout that holds per read ever ends this.
``stall-body``
    Sends its headers and half of the body, then nothing.
``reset-before-headers``, ``reset-in-body``
    Resets the connection (a real RST) instead of an answer, or in its
    middle.
``close-early``
    Closes cleanly (a FIN) without an answer.
``endless-body``
    Sends a chunked body without end, as fast as the client reads it.
``<4xx or 5xx>[:<seconds>]``
    Fails with this status: ``429``, ``503``, ``429:2`` with ``Retry-After:
    2``.
``<4xx or 5xx>-date:<seconds>``
    Fails, with the date that many seconds ahead as ``Retry-After``.
``malformed``
    Answers with something that is not HTTP, then closes.
``wrong-length``
    Sends 100 bytes less than its ``Content-Length`` says, then closes.
``image-empty-url``, ``image-null-url``
    Answers 200, as if there were an image, and its url is ``""`` or null.
``image-broken-bytes``, ``image-truncated``
    Sends bytes for an image that are none, or half of the image's bytes: in
    base64, or from the url where one was asked for.
``image-error-body``
    Answers 200 with ``{"error": ...}`` in place of images.
``image-no-data``
    Answers 200 with an empty list of images.
``stream-stall``
    Sends three pieces of a stream, then nothing.
``stream:<n>[:<interval>]``
    Sends n pieces of a stream, one each interval (0.05 s), and what ends
    it: for OpenAI ``[DONE]``. A piece is a server-sent event; Anthropic's
    first and last come in the company of others, Ollama's are lines of JSON.

Asked for anything but an image, the modes ``image-...`` answer as ``ok``
does. An image is a PNG of 256 by 256 pixels, drawn from the prompt and the
``seed``, if one is sent: the same request gets the same picture.

Three modes are **connection level**. They begin when a connection is
accepted, before there is a request to read, so only the script can choose
them in full:

``never-read``
    Reads nothing (with TLS: nothing after the handshake), so that an upload
    of a few megabytes gets stuck.
``tls-stall``
    Says nothing at all, not even in the TLS handshake. Without TLS it looks
    like ``silent``.
``slow-accept:<seconds>``
    The kernel accepts the connection, but nothing is read for a while. Then
    its first request is answered.

When such a mode comes next in the script, the answer before it says
``Connection: close``, so that the client opens the connection that meets it.
Asked for by header or query, or met by a request on a connection that was
open before, it does what it still can: ``never-read`` leaves the body
unread, ``tls-stall`` is ``silent``, ``slow-accept`` is ``sleep``.

While nothing is read, a client's close cannot be seen behind data that does
not fit into the buffers: after ``never-read``, a connection counts as open
until the client resets it or gives up on sending.
"""

from __future__ import annotations

from .modes import MODES
from .server import HostileProvider
from .stats import ProviderStats, RequestRecord

__all__ = ["MODES", "HostileProvider", "ProviderStats", "RequestRecord"]
