"""
Which mode a request meets.
"""

import functools

import httpx
import pytest

from hungframe.testing.provider import MODES, HostileProvider

# Without this, httpx reads the system's certificates for each call: 18 ms.
get = functools.partial(httpx.get, verify=False)
post = functools.partial(httpx.post, verify=False)
Client = functools.partial(httpx.Client, verify=False)


def test_each_request_takes_the_next_mode() -> None:
    """
    Modes come in order, and the last one repeats.
    """
    with HostileProvider(["ok", "500", "503"]) as provider:
        with Client(base_url=provider.url) as client:
            statuses = [client.get("/").status_code for _ in range(4)]

    assert [200, 500, 503, 503] == statuses


def test_an_empty_script_is_refused() -> None:
    """
    There must be something to play.
    """
    with pytest.raises(ValueError, match="at least one mode"):
        HostileProvider([])


def test_header_beats_the_script_and_takes_nothing_from_it() -> None:
    """
    The script goes on where it was.
    """
    with HostileProvider(["ok", "500"]) as provider:
        with Client(base_url=provider.url) as client:
            chosen = client.get("/", headers={"X-Hostile-Mode": "418"})
            scripted = [client.get("/").status_code for _ in range(2)]

    assert 418 == chosen.status_code
    assert [200, 500] == scripted


def test_query_beats_the_script() -> None:
    """
    A URL can carry its mode, colons and all.
    """
    with HostileProvider("silent") as provider:
        response = get(f"{provider.url}/any?x=1&mode=429:7")

    assert 429 == response.status_code
    assert "7" == response.headers["retry-after"]


def test_unknown_mode_of_a_request_is_told_to_it() -> None:
    """
    The client gets a 400 with the list of modes, and the script is untouched.
    """
    with HostileProvider(["503", "ok"]) as provider:
        refused = post(
            provider.url,
            content=b"x" * 1_000_000,
            headers={"X-Hostile-Mode": "sielnt"},
        )
        assert 503 == get(provider.url).status_code

    message = refused.json()["error"]["message"]
    assert 400 == refused.status_code
    assert "'sielnt'" in message
    assert all(usage in message for usage in MODES)


def test_connection_level_mode_gets_a_new_connection() -> None:
    """
    With keep-alive too, a script's slow-accept meets a connection's start.
    """
    with HostileProvider(["ok", "slow-accept:0.01", "ok"]) as provider:
        with Client(base_url=provider.url) as client:
            first, second, third = (client.get("/") for _ in range(3))

        assert 2 == provider.stats.opened

    assert "close" == first.headers["connection"]
    assert "connection" not in second.headers
    assert 200 == third.status_code


def test_play_changes_what_comes_next() -> None:
    """
    A new script starts at its beginning.
    """
    with HostileProvider() as provider:
        with Client(base_url=provider.url) as client:
            before = client.get("/").status_code
            provider.play(["429", "ok"])
            after = [client.get("/").status_code for _ in range(3)]

        assert 1 == provider.stats.opened

    assert 200 == before
    assert [429, 200, 200] == after


def test_play_closes_kept_connections_for_a_connection_level_mode() -> None:
    """
    The next request does not hide in a connection opened before.
    """
    with HostileProvider() as provider:
        with Client(base_url=provider.url, timeout=0.1) as client:
            client.get("/")
            provider.play("tls-stall")
            assert 0 == provider.stats.open
            with pytest.raises(httpx.ReadTimeout):
                client.get("/")

        assert 2 == provider.stats.opened
        assert 1 == provider.stats.requests


def test_play_refuses_an_unknown_mode_and_goes_on() -> None:
    """
    A typo in a new script leaves the old one in place.
    """
    with HostileProvider("418") as provider:
        with pytest.raises(ValueError, match="'sielnt'"):
            provider.play(["ok", "sielnt"])

        assert 418 == get(provider.url).status_code


@pytest.mark.parametrize("mode", ["tls-stall", "silent"])
def test_tls_stall_by_header_is_silence(mode: str) -> None:
    """
    On a connection that is open, saying nothing is all there is left.
    """
    with HostileProvider() as provider:
        with pytest.raises(httpx.ReadTimeout):
            get(provider.url, headers={"X-Hostile-Mode": mode}, timeout=0.1)


def test_slow_accept_by_header_answers_later() -> None:
    """
    On a connection that is open, it is a sleep.
    """
    with HostileProvider("503") as provider:
        headers = {"X-Hostile-Mode": "slow-accept:0.01"}
        assert 200 == get(provider.url, headers=headers).status_code
