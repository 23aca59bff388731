"""
A certificate authority for tests, its servers and its clients.
"""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context(*names: str, client_cert: bool = False, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """
    A server's context with a certificate for *names*; 127.0.0.1 and localhost if none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("127.0.0.1", "localhost", "::1"))).configure_cert(context)
    if client_cert:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        # So that a client without one fails in the handshake, where both can see it.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def client_context() -> ssl.SSLContext:
    """
    A client's context that trusts this authority and no other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


@cache
def _directory() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


@cache
def client_cert_path() -> Path:
    """
    A file with a client's certificate and its key.
    """
    path = Path(_directory().name) / "client.pem"
    authority().issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@cache
def authority_path() -> Path:
    """
    A file with the authority's certificate.
    """
    path = Path(_directory().name) / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return path
