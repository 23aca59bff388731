"""
Only who knows the token sets a breaker, never another site in a browser's name; and what was done is told.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from hungframe import Guard
from hungframe.events import OperatorActed
from hungframe.health import HealthApp, app
from hungframe.testing import RecordingSink
from tests.health.asking import Answer, ask

TOKEN = "correct horse battery staple"
HTML = {"accept": "text/html"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def made(sink: RecordingSink | None = None, **settings: Any) -> tuple[HealthApp, Guard, str]:
    """
    A page with a token, its guard, and how the page calls that.
    """
    guard = Guard("images", sinks=[] if sink is None else [sink], **settings)
    page = app(guard, operator_token=TOKEN)
    return page, guard, ask(page, "/health.json").json()["guards"][0]["id"]


def act(page: HealthApp, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
    """
    Send a form.
    """
    return ask(page, "/operate", "POST", urlencode(fields).encode(), headers={**FORM, **(headers or {})})


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def opened(page: HealthApp, **more: Any) -> tuple[str, str, Answer]:
    """
    Open the page, and find the two halves of its form's proof.
    """
    answer = ask(page, headers=HTML, **more)
    cookie = re.match(r"(hungframe_form=\w+);", answer.headers["set-cookie"])
    proof = re.search(rb'name="proof" value="(\w+)"', answer.body)
    assert cookie and proof
    return cookie[1], proof[1].decode(), answer


@pytest.mark.parametrize("action, state", [("force_open", "forced_open"), ("disable", "disabled"), ("reset", "closed")])
def test_by_header(action: str, state: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    It is done, shown at once, told as an event, and logged with the address that it came from.
    """
    sink = RecordingSink()
    page, guard, id = made(sink)

    with caplog.at_level(logging.WARNING, "hungframe"):
        answer = act(page, {"guard": id, "action": action}, bearer())

    assert (200, {"guard": id, "action": action, "state": state}) == (answer.status, answer.json())
    assert state == guard.snapshot().state == ask(page, "/health.json").json()["guards"][0]["state"]
    told = [event for event in sink.events if isinstance(event, OperatorActed)]
    assert [("images", action)] == [(event.guard, event.action) for event in told]
    assert f"guard 'images': an operator at 10.0.0.7: {action}" in caplog.text
    assert TOKEN not in caplog.text


def test_by_form() -> None:
    """
    Without JavaScript: with the page's own form, and back to the page.
    """
    page, guard, id = made()
    cookie, proof, answer = opened(page)
    fields = {"guard": id, "action": "force_open", "token": TOKEN, "proof": proof}

    sent = act(page, fields, {"cookie": f"other=1; {cookie}", "sec-fetch-site": "same-origin"})

    assert (303, "./") == (sent.status, sent.headers["location"])
    assert "forced_open" == guard.snapshot().state
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in answer.headers["set-cookie"]
    assert "Secure" not in answer.headers["set-cookie"]
    assert "; Secure" in opened(page, scheme="https", root_path="/internal")[2].headers["set-cookie"]
    assert TOKEN.encode() not in answer.body


def test_refused() -> None:
    """
    Without the token, with another, with half a proof, from another site: one answer for all, and nothing is done.
    """
    sink = RecordingSink()
    page, guard, id = made(sink)
    other_page = app(guard, operator_token=TOKEN[::-1])
    cookie, proof, _ = opened(page)
    _, other_proof, _ = opened(page)
    _, foreign_proof, _ = opened(other_page)
    wanted = {"guard": id, "action": "force_open"}
    whole = {**wanted, "token": TOKEN, "proof": proof}

    answers = [
        act(page, wanted),
        act(page, wanted, bearer("")),
        act(page, wanted, bearer(TOKEN + "x")),
        act(page, wanted, bearer(TOKEN[:-1])),
        act(page, wanted, {"authorization": f"Basic {TOKEN}"}),
        act(page, whole),
        act(page, {**whole, "proof": ""}, {"cookie": cookie}),
        act(page, {**whole, "proof": other_proof}, {"cookie": cookie}),
        act(page, {**whole, "proof": foreign_proof}, {"cookie": cookie}),
        act(page, {**whole, "proof": "\u00e9"}, {"cookie": cookie}),
        act(page, {**whole, "token": "guess"}, {"cookie": cookie}),
        act(page, whole, {"cookie": "hungframe_form"}),
        act(page, whole, {"cookie": cookie, "content-type": "text/plain"}),
        act(page, whole, {"cookie": cookie, "sec-fetch-site": "cross-site"}),
        act(page, whole, {"cookie": cookie, "sec-fetch-site": "same-site"}),
        act(page, whole, {"cookie": cookie, "origin": "https://evil.example", "host": "ops.example"}),
        act(page, wanted, {**bearer(), "origin": "null", "host": "ops.example"}),
    ]

    assert {403} == {answer.status for answer in answers}
    assert 1 == len({answer.body for answer in answers})
    assert "closed" == guard.snapshot().state
    assert [] == sink.events


def test_same_origin_by_host() -> None:
    """
    A browser that sends no Sec-Fetch-Site says by Origin where its page is from.
    """
    page, _, id = made()
    cookie, proof, _ = opened(page)
    fields = {"guard": id, "action": "reset", "token": TOKEN, "proof": proof}

    assert 303 == act(page, fields, {"cookie": cookie, "origin": "https://ops.example", "host": "ops.example"}).status


def test_mistakes() -> None:
    """
    Who may act is told what is wrong.
    """
    page, _, id = made()
    assert 400 == act(page, {"guard": id, "action": "snapshot"}, bearer()).status
    assert 404 == act(page, {"guard": "nobody", "action": "reset"}, bearer()).status
    assert 400 == act(page, {}, bearer()).status
    assert 405 == ask(page, "/operate").status
    assert 413 == ask(page, "/operate", "POST", b"x" * 5000, headers={**FORM, **bearer()}).status
    assert 400 == ask(page, "/operate", "POST", b"\xff&" * 30, headers={**FORM, **bearer()}).status

    bare, _, bare_id = made(breaker=None)
    answer = act(bare, {"guard": bare_id, "action": "reset"}, bearer())
    assert 409 == answer.status and "its breaker has no reset()" in answer.json()["error"]


def test_no_form_without_a_token() -> None:
    """
    Off by default: no form, no cookie, no route.
    """
    answer = ask(app(Guard("images")), headers=HTML)

    assert b"operate" not in answer.body and "set-cookie" not in answer.headers


def test_an_origin_that_is_no_url() -> None:
    """
    It is refused as one from elsewhere is, and not an error of the server's.
    """
    page, guard, id = made()
    headers = {**bearer(), "origin": "http://[", "host": "a.example"}

    assert 403 == act(page, {"guard": id, "action": "force_open"}, headers).status
    assert "closed" == guard.snapshot().state
