"""TLS for a port: loaded only where it is spoken (docs/port.md).

Both sides keep the encrypted bytes in memory and hand them to a non-blocking socket themselves, so that neither ever
waits, and a server can tell who does not speak TLS why it is cut off. Certificates are known by their SHA-256, not by
who signed them. TLS 1.3 alone, which every OpenSSL has that this Python runs with (PEP 644): no renegotiation, no weak
ciphers, keys that are forgotten with the connection; and without tickets nothing is kept for a connection that ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import ssl
import threading
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.credentials import FINGERPRINT

RECORD_BYTES = 1 << 14
"""The most that one record holds (RFC 8446, 5.1)."""
MOST_AT_ONCE = 1 << 16
"""Encrypted in one go, and kept until the socket takes it."""
MOST_WAITING = 1 << 18
"""Who reads nothing and has us answer all the same (key updates) is cut off then."""
HANDSHAKE_BYTES = 1 << 14
RECORD_TYPES = (0x15, 0x16)
"""How the first record of the other side may begin: an alert, or the handshake (RFC 8446, 5.1)."""


class NotTlsError(NervehandError):
    """The other side's first bytes are not TLS."""


def fingerprint_of(certificate: bytes) -> str:
    """Of a certificate in DER: "sha256:" and 64 hex digits."""
    return FINGERPRINT + hashlib.sha256(certificate).hexdigest()


def server_context(certificate: str | Path, key: str | Path | None = None) -> ssl.SSLContext:
    """For a server with that certificate (PEM; `key` None: in the same file).

    OSError (ssl.SSLError) or ValueError where they are none, or do not belong together, or the key wants a password.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, _no_password)
    context.num_tickets = 0
    return context


def client_context() -> ssl.SSLContext:
    """For a client that compares the certificate's fingerprint itself."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # No authority is asked; that the other side has the certificate's key is proven by the handshake all the same.
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def reason(error: OSError) -> str:
    """Why TLS failed, in OpenSSL's words, without its brackets."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error.strerror or error or repr(error))


class TlsChannel:
    """TLS over a connected, non-blocking socket. NotTlsError where the other side's first bytes are none of it."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, *, is_server: bool) -> None:
        self.socket = connected
        self.is_open = False
        self.heard_bytes = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._lock = threading.Lock()  # one TLS state must not be read and written at a time
        self._unsent = bytearray()
        self._is_over = False
        self._writable = select.poll()
        self._writable.register(connected, select.POLLOUT)

    @property
    def waiting(self) -> int:
        return len(self._unsent)

    @property
    def peer(self) -> str:
        """The fingerprint of the other side's certificate; "" where it has shown none."""
        certificate = self._tls.getpeercert(binary_form=True)
        return "" if certificate is None else fingerprint_of(certificate)

    def handshake(self) -> bool:
        """Take it as far as it goes now; whether it is over. OSError where it fails, or the other side has gone."""
        with self._lock:
            try:
                is_there = self._fed(HANDSHAKE_BYTES)
            except BlockingIOError:
                is_there = True
            if not is_there:
                raise ConnectionResetError("the other side has closed it")
            return self._shaken()

    def receive(self, most: int) -> bytes:
        with self._lock:
            if self._is_over or not self._fed(most):
                return b""
            if not self._shaken():
                raise BlockingIOError
            received = self._decrypted()
            if not received and not self._is_over:
                raise BlockingIOError
            return received

    def send(self, data: memoryview, /) -> int:
        with self._lock:
            self._flush()
            # What is encrypted must be sent: it is not, where the socket is full already.
            if not self.is_open or self._unsent or not self._writable.poll(0):
                raise BlockingIOError
            n = self._tls.write(data[:MOST_AT_ONCE])
            self._flush()
            return n

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def refuse(self, frame: bytes) -> None:
        """In plain text, unless TLS has begun already."""
        with self._lock, contextlib.suppress(OSError):
            if not self.heard_bytes:
                self.socket.send(frame)

    def _fed(self, most: int) -> bool:
        """Whether the other side is still there: what it sent is given to TLS; BlockingIOError where nothing came."""
        received = self.socket.recv(most)
        if received and not self.heard_bytes and received[0] not in RECORD_TYPES:
            raise NotTlsError("what came is not TLS")
        self.heard_bytes += len(received)
        self._incoming.write(received)
        return bool(received)

    def _shaken(self) -> bool:
        if not self.is_open:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._alert()
                raise
            else:
                self.is_open = True
            self._flush()
        return self.is_open

    def _decrypted(self) -> bytes:
        """All of it: nothing stays behind in TLS, where no selector sees it."""
        found = []
        while not self._is_over:
            try:
                record = self._tls.read(RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                record = b""
            except ssl.SSLError:
                self._alert()
                raise
            self._is_over = not record
            found.append(record)
        self._flush()
        return b"".join(found)

    def _alert(self) -> None:
        """Let the other side hear, if it can, what TLS has to say of an error."""
        with contextlib.suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                n = self.socket.send(self._unsent)
            except BlockingIOError:
                break
            del self._unsent[:n]
        if len(self._unsent) > MOST_WAITING:
            raise ConnectionAbortedError("the other side takes nothing")
