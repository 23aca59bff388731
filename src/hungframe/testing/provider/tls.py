"""
TLS between a wire and what is said on it.

Bytes in, bytes out; nothing here touches a socket or awaits. asyncio could do
this with ``start_tls``, but it begins the handshake by itself, leaves a socket
behind when it is cancelled in one, and does both differently from one Python
to the next; a provider of failures wants to fail on purpose only.
"""

from __future__ import annotations

import ssl
import sys
from importlib import resources

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

_CHUNK = 65_536


def server_context() -> ssl.SSLContext:
    """
    Make a server's context with the certificate that ships with the package.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    with resources.as_file(_pem()) as path:
        context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """
    Make a client's context that trusts this certificate and no other.
    """
    pem = _pem().read_text("ascii")
    # From the marker on: a client has no business with the key before it.
    certificate = pem[pem.index("-----BEGIN CERTIFICATE-----") :]
    return ssl.create_default_context(cadata=certificate)


def _pem() -> Traversable:
    return resources.files("hungframe.testing.provider").joinpath("loopback.pem")


class TlsLayer:
    """
    Turn what a TLS client sends into what it says, and back.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.peer_closed = False

    def feed(self, ciphertext: bytes) -> bytes:
        """
        Take what came from the socket and return what it says.

        Raises:
            ssl.SSLError: If the client refuses us or does not speak TLS.
        """
        self._incoming.write(ciphertext)
        said = bytearray()
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while piece := self._tls.read(_CHUNK):
                said += piece
            self.peer_closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        return bytes(said)

    def wrap(self, plaintext: bytes) -> bytes:
        """
        Make of what we say what goes to the socket.
        """
        rest = memoryview(plaintext)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return self.pending()

    def pending(self) -> bytes:
        """
        Take what TLS itself wants to send: handshakes, tickets, alerts.
        """
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """
        Say that nothing follows, so that a FIN is not taken for a cut.
        """
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # Expected: we do not wait for the client to say the same.
            pass
        return self.pending()
