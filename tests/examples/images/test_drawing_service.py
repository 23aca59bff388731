"""
The images service through OpenAI's own SDK, awaited and not: an image, or an error that says why there is none.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.drawing import CATALOGUE, OpenAIImages, SyncOpenAIImages, probe, probe_sync, sizes, verdict
from examples.images.drawing.answer import Link
from examples.images.drawing.asking import Asking
from examples.images.drawing.download import Download, Fetching, ImageHostError
from examples.images.drawing.probe import request as probe_request
from examples.images.ports import Image, ImageRequest, ImageService, NoImageError
from hungframe import CallTimeoutError, CircuitBreaker, Guard
from hungframe.recovery import Prober, ProbeResult, current_probe
from hungframe.testing import HostileProvider
from hungframe.testing.provider.openai_images import images
from hungframe.transport.httpx2 import AsyncClient, Client

from .pictures import JPEG, PNG
from .site import JSON, Page, Site

REQUEST = ImageRequest("a cat", "dall-e-3", "1024x1024", seed=7)
BY_URL = Asking(response_format="url")
GPT = ImageRequest("a cat", "gpt-image-2", "auto", seed=7)
# With verify=False, since to read the certificates of the system for each client takes longer than the test.
IMAGES = "/v1/images/generations"
# What the provider draws for this prompt.
DRAWN = base64.b64decode(images({"prompt": "a cat"}, "")["data"][0]["b64_json"])

Draw = Callable[..., Image]


def draw_awaited(base_url: str, request: ImageRequest = REQUEST, guard: Guard | None = None, **options: Any) -> Image:
    async def main() -> Image:
        async with AsyncClient(verify=False) as http:
            client = openai.AsyncOpenAI(base_url=base_url, api_key="sk-secret", http_client=http, max_retries=0)
            service: ImageService = OpenAIImages(client, http, **options)
            return await (guard.acall(service.draw, request) if guard else service.draw(request))

    return asyncio.run(main())


def draw_in_place(base_url: str, request: ImageRequest = REQUEST, guard: Guard | None = None, **options: Any) -> Image:
    with Client(verify=False) as http:
        client = openai.OpenAI(base_url=base_url, api_key="sk-secret", http_client=http, max_retries=0)
        service = SyncOpenAIImages(client, http, **options)
        return guard.using(isolate=None).call(service.draw, request) if guard else service.draw(request)


@pytest.fixture(params=[draw_awaited, draw_in_place])
def draw(request: pytest.FixtureRequest) -> Draw:
    chosen: Draw = request.param
    return chosen


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def open_site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def site(open_site: Site) -> Site:
    open_site.pages.clear()
    open_site.asked.clear()
    return open_site


def no_image(draw: Draw, base_url: str, request: ImageRequest = REQUEST, **options: Any) -> str:
    """
    Have no image drawn, and return why; it is the end of the job, and nothing of it is a secret.
    """
    with pytest.raises(NoImageError) as caught:
        draw(base_url, request, **options)
    told = verdict(caught.value)
    assert ("bury", "no-image-url") == (told.kind, told.reason)
    assert not any(secret in told.detail for secret in ("cat", "sk-", "sig="))
    return str(caught.value)


# -- an image ----------------------------------------------------------------------------------------------------------


def test_an_image_in_base64(draw: Draw, provider: HostileProvider) -> None:
    """
    What the provider draws comes back, and is said to be what it is.
    """
    provider.play("ok")

    assert Image(DRAWN, "image/png") == draw(provider.base_url)
    assert Image(DRAWN, "image/png") == draw(provider.base_url, GPT)


def test_an_image_behind_a_url(draw: Draw, provider: HostileProvider) -> None:
    """
    It is fetched at once, without the provider's key.
    """
    provider.play("ok")
    assert Image(DRAWN, "image/png") == draw(provider.base_url, asking=BY_URL)

    drawing, fetching = provider.requests[-2:]
    assert (IMAGES, "Bearer sk-secret") == (drawing.path, drawing.headers["authorization"])
    assert fetching.path.startswith("/frames/")
    assert "authorization" not in fetching.headers


def test_the_seed_is_sent_where_it_is_known(draw: Draw, provider: HostileProvider) -> None:
    """
    A provider that knows seeds draws by it.
    """
    provider.play("ok")
    other = ImageRequest(REQUEST.prompt, REQUEST.model, REQUEST.size, seed=8)
    seeded = draw(provider.base_url, asking=Asking(send_seed=True))

    assert seeded == draw(provider.base_url, asking=Asking(send_seed=True))
    assert seeded != draw(provider.base_url, other, asking=Asking(send_seed=True))
    assert draw(provider.base_url) == draw(provider.base_url, other)


def test_what_is_asked_for() -> None:
    """
    A model is sent what it takes, and one that nobody knows what all of them take.
    """
    common = {"prompt": "a cat", "size": "auto", "n": 1}
    unknown = ImageRequest("a cat", "my-own", "auto", seed=7)
    old = ImageRequest("a cat", "dall-e-2", "auto", seed=7)

    assert {**common, "model": "gpt-image-2"} == BY_URL.parameters(GPT)
    assert {**common, "model": "my-own"} == BY_URL.parameters(unknown)
    assert {**common, "model": "dall-e-2", "response_format": "url"} == BY_URL.parameters(old)
    assert {"seed": 7} == Asking(send_seed=True).parameters(GPT)["extra_body"]


def test_the_sizes_of_the_models() -> None:
    """
    The API is told those models that there still are, or all of them.
    """
    assert "gpt-image-2" in sizes() and "dall-e-3" not in sizes()
    assert set(CATALOGUE) == set(sizes(retired=True))
    assert ("1024x1024", "1024x1536", "1536x1024", "auto") == sizes()["gpt-image-2"]


def test_wrong_settings_teach() -> None:
    """
    What cannot work is refused when the service is made.
    """
    with pytest.raises(ValueError, match="response_format must be 'b64_json' or 'url', got 'png'"):
        Asking(response_format="png")  # type: ignore[arg-type]  # What is refused.
    with pytest.raises(TypeError, match="a set of names or None, got 'example.com'"):
        Fetching(allowed_hosts="example.com")  # type: ignore[arg-type]  # What is refused.
    with pytest.raises(ValueError, match="max_bytes must be at least 1, got 0"):
        Fetching(max_bytes=0)
    with pytest.raises(ValueError, match="max_redirects must be at least 0, got -1"):
        Fetching(max_redirects=-1)
    with Client(verify=False) as http, openai.OpenAI(api_key="k", http_client=http) as client:
        with pytest.raises(ValueError, match="client.max_retries must be 0, got 2: what the SDK tries again"):
            SyncOpenAIImages(client, http)


# -- what is none ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [Asking(), BY_URL], ids=["base64", "url"])
@pytest.mark.parametrize(
    "mode, why",
    [
        ("image-empty-url", "url is empty"),
        ("image-null-url", "url is missing"),
        ("image-broken-bytes", "neither PNG, JPEG nor WebP"),
        ("image-truncated", "is broken: it ends in the middle of a chunk"),
        ("image-error-body", "its error has the code 'no_image'"),
        ("image-no-data", "an empty list"),
    ],
)
def test_every_bad_image(draw: Draw, provider: HostileProvider, mode: str, why: str, asking: Asking) -> None:
    """
    A 200 without an image is NoImageError, in whatever form it was asked for.
    """
    provider.play(mode)
    assert why in no_image(draw, provider.base_url, asking=asking)


@pytest.mark.parametrize(
    "body, headers, why",
    [
        (b"<html>We are back soon</html>", {"Content-Type": "text/html"}, "data is missing"),
        (b'{"data": [', JSON, "its body is no JSON"),
        (b"\xff\xfe\xff", JSON, "its body is no JSON"),
        (b"", JSON, "its body is no JSON"),
        (b"null", JSON, "data is missing"),
        (b"[]", JSON, "data is missing"),
        (b'{"data": {"url": "https://x/y.png"}}', JSON, "not a list"),
        (b'{"data": ["https://x/y.png"]}', JSON, "b64_json is missing, url is missing"),
        (b'{"data": [{"url": "ftp://x/cat.png"}]}', JSON, "needs http or https, and has 'ftp'"),
        (b'{"data": [{"url": "data:image/png;base64,cat"}]}', JSON, "needs http or https, and has 'data'"),
        (b'{"data": [{"url": "/cat.png"}]}', JSON, "needs http or https, and has ''"),
        (b'{"data": [{"url": "http://"}]}', JSON, "its host is no name and no address"),
        (b'{"data": [{"url": "http://x:70000/"}]}', JSON, "its port is 70000"),
        (b'{"data": [{"url": "http://[::1"}]}', JSON, "it cannot be read"),
    ],
)
def test_answers_that_are_none(draw: Draw, site: Site, body: bytes, headers: dict[str, str], why: str) -> None:
    """
    What no honest provider says, said under a status that all is well.
    """
    site.pages[IMAGES] = Page(body, headers=headers)
    assert why in no_image(draw, site.url + "/v1")


def test_any_answer_is_an_image_or_none(site: Site) -> None:
    """
    Whatever comes in a 200: NoImageError, and nothing else.
    """
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    )
    # A url leads nowhere; which ones do is tested below.
    entries = st.fixed_dictionaries(
        {}, optional={"b64_json": values, "url": st.none() | st.integers(), "error": values}
    )
    answers = values | st.fixed_dictionaries({"data": values | st.lists(entries | values, max_size=2)})

    with Client(verify=False) as http:
        client = openai.OpenAI(base_url=site.url + "/v1", api_key="k", http_client=http, max_retries=0)
        service = SyncOpenAIImages(client, http)

        @settings(max_examples=60, deadline=None)
        @given(st.binary(max_size=40) | answers.map(lambda answer: json.dumps(answer).encode()), st.booleans())
        def check(body: bytes, is_json: bool) -> None:
            site.pages[IMAGES] = Page(body, headers=JSON if is_json else {})
            with pytest.raises(NoImageError):
                service.draw(REQUEST)

        check()


# -- behind a url ------------------------------------------------------------------------------------------------------


def serve(site: Site, **pages: Page) -> str:
    """
    Answer with a url of this site, which leads to the page `first`.
    """
    url = f"{site.url}/first?sig=abc"
    site.pages[IMAGES] = Page(json.dumps({"data": [{"url": url}]}).encode(), headers=JSON)
    site.pages.update({f"/{name}": page for name, page in pages.items()})
    if "first" in pages:
        site.pages["/first?sig=abc"] = pages["first"]
    return site.url + "/v1"


def onward(to: str, status: int = 302) -> Page:
    return Page(status=status, headers={"Location": to})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(draw: Draw, site: Site, status: int) -> None:
    """
    A url may lead to another one; and the type is what the bytes are, not what a header says.
    """
    page = Page(JPEG, headers={"Content-Type": "image/png"})
    assert Image(JPEG, "image/jpeg") == draw(serve(site, first=onward("/second", status), second=page))


@pytest.mark.parametrize(
    "page, why",
    [
        (Page(status=404), "led to a 404 of '127.0.0.1'; it may have expired"),
        (Page(b"<Error>expired</Error>", status=403), "led to a 403"),
        (Page(status=204), "led to a 204"),
        (Page(b""), "no bytes"),
        (Page(b"<html>", headers={"Content-Type": "image/png"}), "neither PNG, JPEG nor WebP"),
        (Page(PNG[:-9]), "is broken"),
        (Page(gzip.compress(PNG), headers={"Content-Encoding": "gzip"}), "they begin with 1f 8b"),
        (Page(bytes(9_000)), "more bytes than max_bytes (8,000)"),
        (Page(headers={"Content-Length": "9000"}), "more bytes than max_bytes"),
        (onward("/first?sig=abc"), "more than max_redirects (3)"),
        (onward("ftp://127.0.0.1/"), "needs http or https, and has 'ftp'"),
        (onward("file:///etc/passwd"), "needs http or https, and has 'file'"),
        (onward("http://[::1"), "no url"),
        (onward("http://elsewhere.example/"), "its host 'elsewhere.example' is not one of allowed_hosts"),
        (Page(status=302), "leads nowhere"),
    ],
)
def test_urls_that_lead_to_no_image(draw: Draw, site: Site, page: Page, why: str) -> None:
    """
    Nothing but an image is taken from a url, of no other host than may be asked, and no more of it than is allowed.
    """
    fetching = Fetching(allowed_hosts=frozenset({"127.0.0.1"}), max_bytes=8_000)
    assert why in no_image(draw, serve(site, first=page), fetching=fetching)


def test_a_host_that_is_not_allowed_is_not_asked(draw: Draw, site: Site) -> None:
    """
    Not even a connection is made.
    """
    fetching = Fetching(allowed_hosts=frozenset({"images.example"}))
    assert "'127.0.0.1' is not one of allowed_hosts" in no_image(draw, serve(site, first=Page(PNG)), fetching=fetching)
    assert [IMAGES] == [path for path, _ in site.asked]


def test_redirects_end(draw: Draw, site: Site) -> None:
    """
    As many are followed as may be, and not one more.
    """
    base_url = serve(site, first=onward("/second"), second=onward("/third"), third=Page(JPEG))
    assert JPEG == draw(base_url, fetching=Fetching(max_redirects=2)).content

    site.asked.clear()
    assert "more than max_redirects (1), at last from '127.0.0.1'" in no_image(
        draw, base_url, fetching=Fetching(max_redirects=1)
    )
    assert [IMAGES, "/first?sig=abc", "/second"] == [path for path, _ in site.asked]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_host_that_fails_for_now(draw: Draw, site: Site, status: int) -> None:
    """
    It is no fault of the image: the guard counts it by its status, and the job is tried again.
    """
    guard = Guard("images")
    base_url = serve(site, first=Page(status=status, headers={"Retry-After": "7"}))
    with pytest.raises(ImageHostError) as caught:
        draw(base_url, guard=guard)

    assert f"'127.0.0.1', which has the image, answered {status}" == str(caught.value)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))
    counted = {408: "4xx", 429: "quota"}.get(status, "5xx")
    assert 1 == guard.snapshot().counts[counted]
    if status == 429:
        assert 7.0 == verdict(caught.value).retry_after
    else:
        assert "retry" == verdict(caught.value).kind


@settings(deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"https?://[ -~]{0,20}(:[0-9]{0,6})?(/.{0,5})?", fullmatch=True))
def test_any_url_is_read_or_refused(text: str) -> None:
    """
    Whatever stands in place of a url: it can be asked for over http, or is refused with NoImageError.
    """
    try:
        url = Download(Link(text), Fetching()).url
    except NoImageError:
        return
    assert url is not None
    assert url.scheme in ("http", "https")
    assert url.host
    url.host.encode("idna")


# -- in time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["silent", "trickle-body"])
def test_a_url_that_hangs_ends_at_the_deadline(draw: Draw, provider: HostileProvider, mode: str) -> None:
    """
    The fetching is a part of the guarded call: it is over at the same deadline, and no connection is left behind.
    """
    provider.play(["ok", mode])
    began = time.monotonic()
    with pytest.raises(CallTimeoutError) as caught:
        draw(provider.base_url, asking=BY_URL, guard=Guard("images", timeout=0.3))
    took = time.monotonic() - began

    assert 0.29 < took < 1.5
    assert caught.value.wire is not None
    assert ("retry", "timeout") == (verdict(caught.value).kind, verdict(caught.value).reason)
    assert provider.wait_closed()


def test_an_endless_body_is_cut_off(draw: Draw, provider: HostileProvider) -> None:
    """
    More than an image may have is not taken, however fast it comes.
    """
    provider.play(["ok", "endless-body"])
    assert "max_bytes (100,000)" in no_image(
        draw, provider.base_url, asking=BY_URL, fetching=Fetching(max_bytes=100_000)
    )
    assert provider.wait_closed()


# -- health ------------------------------------------------------------------------------------------------------------


def test_refused_credentials_are_told_loudly(
    draw: Draw, provider: HostileProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A key that has expired is nobody's job's fault: an error is logged, without the key, and the job is given back.
    """
    for mode in ("401", "402", "403"):
        provider.play(mode)
        with caplog.at_level(logging.ERROR), pytest.raises(openai.APIStatusError) as caught:
            draw(provider.base_url)
        assert "snooze" == verdict(caught.value).kind
        assert f"the provider refuses us (HTTP {mode})" in caplog.text

    assert "sk-secret" not in caplog.text


def test_a_series_without_images_opens_the_breaker(provider: HostileProvider) -> None:
    """
    A provider that answers 200 and draws nothing is ill: each answer counts at its full weight.
    """
    provider.play("image-no-data")
    guard = Guard("images", breaker=CircuitBreaker(min_weight=3.0))
    with Client(verify=False) as http:
        client = openai.OpenAI(base_url=provider.base_url, api_key="k", http_client=http, max_retries=0)
        service = SyncOpenAIImages(client, http)
        for _ in range(3):
            with pytest.raises(NoImageError):
                guard.using(isolate=None).call(service.draw, REQUEST)

    assert 3 == guard.snapshot().counts["unknown"]
    assert "open" == guard.snapshot().state


def test_a_probe_brings_nothing(provider: HostileProvider) -> None:
    """
    A probe looks whether an image comes, and has none to be stored; one that does not come is a failure.
    """
    provider.play("ok")
    asked: list[bool] = []
    results: list[ProbeResult] = []

    class Watched(OpenAIImages):
        async def draw(self, request: ImageRequest) -> Image:
            running = current_probe()
            asked.append(running is not None and running.no_store and request == probe_request())
            return await super().draw(request)

    async def main() -> None:
        async with AsyncClient(verify=False) as http:
            client = openai.AsyncOpenAI(base_url=provider.base_url, api_key="k", http_client=http, max_retries=0)
            service = Watched(client, http)
            prober = Prober(functools.partial(probe, service), every=0.02, on_result=results.append)
            breaker = CircuitBreaker(min_weight=1.0, open_for=0.02, probe_every=0.02, close_after=1)
            guard = Guard("images", breaker=breaker, recovery=prober)
            provider.play("image-no-data")
            with pytest.raises(NoImageError):
                await guard.acall(service.draw, REQUEST)
            asked.clear()
            async with prober:
                while not results:
                    await asyncio.sleep(0.01)
                provider.play("ok")
                while guard.snapshot().state != "closed":
                    await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 5.0))

    assert asked and all(asked)
    assert ("unknown", "success") == (results[0].outcome, results[-1].outcome)
    assert all(result.no_store and result.value is None for result in results)


def test_a_probe_in_place(provider: HostileProvider) -> None:
    """
    The same for sync workers; it asks for the smallest size of the model.
    """
    provider.play("ok")
    with Client(verify=False) as http:
        client = openai.OpenAI(base_url=provider.base_url, api_key="k", http_client=http, max_retries=0)
        service = SyncOpenAIImages(client, http)
        probe_sync(service)
        provider.play("image-truncated")
        with pytest.raises(NoImageError):
            probe_sync(service, "dall-e-2")

    assert "256x256" == probe_request("dall-e-2").size
    assert "1024x1024" == probe_request("my-own").size
    assert probe_request() == probe_request()
