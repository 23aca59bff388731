"""
Draws one image through the provider's SDK, and looks whether it is one.

`OpenAIImages` matches the port `ImageService`, and `SyncOpenAIImages` is the same for sync workers (service). What they
share, all that awaits nothing, has a file each: what is asked (asking, catalogue), what was answered (answer), what
lies behind a url (download), whether bytes are an image (check, formats). `verdict` tells what an error means for the
job, and `probe` asks whether the provider is well.

None of them is guarded: whoever calls `draw` holds the permit, and its deadline holds on the wire, since the clients
are those of `hungframe.transport.httpx2`::

    http = AsyncClient()
    images = OpenAIImages(openai.AsyncOpenAI(http_client=http, max_retries=0), http)
    image = await guard.acall(images.draw, request)

For the guard a `NoImageError` is of the outcome `unknown`, at its full weight, as the built-in rules have it; nothing
here classifies it otherwise. A provider that answers 200 without an image does not serve: one such answer says little
(this prompt, that filter), a series of them says that it is ill, and then the breaker is to open before every job that
waits has become a dead letter.
"""

from .catalogue import CATALOGUE, Model, sizes
from .probe import probe, probe_sync
from .service import OpenAIImages, SyncOpenAIImages
from .verdict import is_our_fault, verdict

__all__ = [
    "CATALOGUE",
    "Model",
    "OpenAIImages",
    "SyncOpenAIImages",
    "is_our_fault",
    "probe",
    "probe_sync",
    "sizes",
    "verdict",
]
