"""
TLS as the library's user sets it up: whom to trust, who one is, what the server is called.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import time
import warnings
from typing import Any

import pytest

from tests.transport.certificates import authority_path, client_cert_path, client_context, server_context
from tests.transport.faces import Face, Kind, Library, both, each_kind, each_library, error_of, facts, run_with
from tests.transport.raw_server import OK, Connection, says, serving

RESET = struct.pack("ii", 1, 0)


def verify_of(name: str) -> Any:
    if name == "context":
        return client_context()
    if name == "path":
        return str(authority_path())
    return False


@each_kind
@each_library
@pytest.mark.parametrize("verify", ["context", "path", "False"])
def test_trusted(library: Library, kind: Kind, verify: str) -> None:
    """
    `verify=` takes what it takes in the stock client.
    """

    async def scenario(face: Face) -> list[Any]:
        return [facts(await face.post(server.url, content=b"x" * size)) for size in (0, 1, 100_000, 3_000_000)]

    with serving(says(OK), tls=server_context()) as server, warnings.catch_warnings():
        # A path is deprecated in the libraries.
        warnings.simplefilter("ignore", DeprecationWarning)
        both(kind, library, scenario, verify=verify_of(verify))


@each_kind
@each_library
@pytest.mark.parametrize("wrong", ["unknown authority", "other name", "no TLS", "refuses", "resets", "closes"])
def test_handshake_fails(library: Library, kind: Kind, wrong: str) -> None:
    """
    The library's ConnectError, whatever goes wrong.
    """

    def answer(connection: Connection) -> None:
        if wrong == "no TLS":
            connection.more()
            connection.say(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        elif wrong == "resets":
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif wrong == "closes":
            connection.more()

    tls = {
        "unknown authority": server_context(),
        "other name": server_context("elsewhere.test"),
        "refuses": server_context(client_cert=True),
    }.get(wrong)

    async def scenario(face: Face) -> str:
        return await error_of(face.get(f"https://127.0.0.1:{server.port}"))

    with serving(answer if tls is None else says(OK), tls=tls) as server:
        verify = ssl.create_default_context() if wrong == "unknown authority" else client_context()
        raised = run_with(kind, library.ours, scenario, verify=verify)
    assert f"{library.stock.__name__}.ConnectError" == raised


@each_kind
@each_library
def test_reset_before_the_handshake(library: Library, kind: Kind) -> None:
    """
    So it is where the connection is lost before the handshake begins, with something said or nothing.
    """

    def answer(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.say(b"x" * (connection.number % 2))

    async def scenario(face: Face) -> str:
        backend = face.client._transport._inner._pool._network_backend
        connect = backend.connect_tcp

        def connect_tcp(*args: Any, **options: Any) -> Any:
            stream = connect(*args, **options)
            time.sleep(0.05)
            return stream

        async def async_connect_tcp(*args: Any, **options: Any) -> Any:
            stream = await connect(*args, **options)
            time.sleep(0.05)
            return stream

        backend.connect_tcp = connect_tcp if kind == "sync" else async_connect_tcp
        return await error_of(face.get(f"https://127.0.0.1:{server.port}"))

    with serving(answer) as server:
        for _ in range(2):
            assert f"{library.stock.__name__}.ConnectError" == run_with(kind, library.ours, scenario)


@each_kind
@each_library
def test_client_certificate(library: Library, kind: Kind) -> None:
    """
    `cert=` shows who the client is.
    """

    async def scenario(face: Face) -> str:
        return str((await face.get(server.url)).text)

    with serving(says(OK), tls=server_context(client_cert=True)) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module in library:
            assert "ok" == run_with(kind, module, scenario, verify=client_context(), cert=str(client_cert_path()))
        subject = server.connections[-1].sock
    assert isinstance(subject, ssl.SSLSocket)


@each_kind
@each_library
def test_sni_hostname(library: Library, kind: Kind) -> None:
    """
    The `sni_hostname` extension asks for another name than the URL's, and checks that.
    """
    asked: list[str | None] = []
    tls = server_context("elsewhere.test")
    tls.sni_callback = lambda sock, name, context: asked.append(name)

    async def scenario(face: Face) -> str:
        return str((await face.get(server.url, extensions={"sni_hostname": "elsewhere.test"})).text)

    with serving(says(OK), tls=tls) as server:
        both(kind, library, scenario, verify=client_context())
    assert ["elsewhere.test"] * 2 == asked


@each_kind
@each_library
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_keep_alive_and_end(library: Library, kind: Kind, version: ssl.TLSVersion) -> None:
    """
    Connections under TLS are kept, also with session tickets on their way, and a body without a length ends with the
    connection, with a goodbye or without.
    """

    def answer(connection: Connection) -> None:
        for _ in range(3):
            connection.request()
            connection.say(OK)
        connection.request()
        connection.say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)

    async def scenario(face: Face) -> tuple[Any, int]:
        before = len(server.connections)
        seen = [facts(await face.get(server.url)) for _ in range(4)]
        return seen, len(server.connections) - before

    tls = server_context()
    tls.minimum_version = tls.maximum_version = version
    try:
        with serving(answer, tls=tls) as server:
            seen, made = both(kind, library, scenario, verify=client_context())
    finally:
        tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert (200_000, 1) == (len(seen[3][4]), made)


@each_kind
@each_library
def test_what_a_stream_tells(library: Library, kind: Kind) -> None:
    """
    The `network_stream` extension tells of TLS, addresses and the socket.
    """

    async def scenario(face: Face) -> list[Any]:
        async with face.stream("GET", server.url) as response:
            stream = response.extensions["network_stream"]
            tls = stream.get_extra_info("ssl_object")
            told = [
                tls.version(),
                tls.getpeercert(),
                tls.selected_alpn_protocol(),
                stream.get_extra_info("server_addr"),
                stream.get_extra_info("client_addr")[0],
                stream.get_extra_info("socket").fileno() >= 0,
                stream.get_extra_info("is_readable"),
                stream.get_extra_info("nonsense"),
            ]
            await face.read(response)
        return told

    with serving(says(OK), tls=server_context(alpn=("http/1.1",))) as server:
        told = both(kind, library, scenario, verify=client_context())
    assert ("TLSv1.3", "http/1.1") == (told[0], told[2])


@each_library
def test_reset_while_tls_is_put_upon_it(library: Library) -> None:
    """
    However late the ssl module notices, the socket that it has made is closed.
    """
    made: list[ssl.SSLSocket] = []

    class Noticing(ssl.SSLSocket):
        def getpeername(self) -> Any:
            made.append(self)
            raise OSError(errno.ENOTCONN, "it is not connected")

        def recv(self, *args: Any) -> Any:
            raise ConnectionResetError(errno.ECONNRESET, "it was reset")

    async def scenario(face: Face) -> str:
        return await error_of(face.get(f"https://127.0.0.1:{server.port}"))

    context = client_context()
    context.sslsocket_class = Noticing
    with serving(says(OK)) as server:
        raised = run_with("sync", library.ours, scenario, verify=context)
    assert f"{library.stock.__name__}.ConnectError" == raised
    assert [-1] == [each.fileno() for each in made]
