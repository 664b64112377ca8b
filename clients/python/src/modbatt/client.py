"""A connection to one bridge: errors, TLS, proofs and bounds. Its routes are in `routes`."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from .keys import AccountKey
from .routes import Routes, Transaction
from .session import Credential
from .transactions import Body, Envelope, SignedTransaction, sign

#: Longest answer that is read, in bytes.
ANSWER_MAX = 2 << 20
#: How long an answer may take, in seconds; the bridge itself gives up after 45.
ANSWER_TIMEOUT_S = 50.0
#: For how many blocks a transaction stays good.
EXPIRY_BLOCKS = 1000


class Refusal(Exception):
    """The bridge refused (spec/api.md, A5). `code` is stable; the words are for people."""

    def __init__(self, status: int, code: str, error: str, detail: str | None) -> None:
        super().__init__(f"{error} ({code}{f': {detail}' if detail else ''})")
        self.status, self.code, self.error, self.detail = status, code, error, detail

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later without a change."""
        return self.status in (408, 429, 503, 504) or self.code == "W4_ERR_RECEIPT_PENDING"


class Unreachable(Exception):
    """Nobody answers, or not in time. What was asked may still have happened."""


class Malformed(Exception):
    """The answer is not what the contract says."""


class Client(Routes):
    """Calls the bridge at `address`: `https://HOST:PORT`, or `http://` to this machine alone (A7).

    `ca_file` holds the certificates that the bridge's own must chain to, instead of those of the system; `certificate` and
    `certificate_key` are PEM files by which this client names itself, `credential` is a token with its key, from `log_in` or
    as `modbatt user token` gives it. It retries nothing.
    """

    def __init__(
        self,
        address: str,
        *,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        certificate_key: Path | None = None,
        credential: Credential | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} is not an address of a bridge: http or https, host and port")
        if parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"{address!r} must end after the port")
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
            if certificate is not None:
                self._tls.load_cert_chain(certificate, certificate_key)
        elif not _is_loopback(parts.hostname):
            raise ValueError("http is in clear and stays on this machine; use https")
        self._host, self._port = parts.hostname, parts.port
        host = f"[{self._host}]" if ":" in self._host else self._host
        # As `http.client` writes `Host`.
        usual = 443 if self._tls else 80
        self._authority = host if self._port in (None, usual) else f"{host}:{self._port}"
        self._credential, self._timeout_s = credential, timeout_s

    def log_in(self, user: str, passphrase: str) -> None:
        """Asks as this user from here on, with a key drawn for the session; he is present for five minutes (A135)."""
        key = AccountKey.generate()
        given = self.post_sessions({"user": user, "passphrase": passphrase, "key": key.public.hex()})
        self._credential = Credential(given["token"], key)

    def submit(self, transaction: SignedTransaction, *, wait: bool = True) -> Transaction:
        """Sends a transaction; with `wait` the answer comes once a block holds it (A33)."""
        body = base64.b64encode(transaction.data).decode()
        return self.post_transactions({"transaction": body}, wait=int(wait))

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        answers: Collection[int] = (200,),
    ) -> Any:
        given = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        headers = {"Accept": "*/*"}
        if self._credential is not None:
            headers |= self._credential.headers(method, self._authority, target)
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        status, media, answer = self._send(method, target, headers, data)
        if status == 200 and media != "application/json":
            return answer
        try:
            said = json.loads(answer)
        except ValueError as error:
            raise Malformed(f"{method} {target}: status {status}, and no JSON: {error}") from None
        if status in answers:
            return said
        if not isinstance(said, dict) or not {"error", "code"} <= said.keys():
            raise Malformed(f"{method} {target}: status {status} without a problem body")
        raise Refusal(status, said["code"], said["error"], said.get("detail"))

    def _send(
        self, method: str, target: str, headers: dict[str, str], data: bytes | None
    ) -> tuple[int, str, bytes]:
        connection = self._connection()
        try:
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the bridge at {self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        if len(content) > ANSWER_MAX:
            raise Malformed(f"{method} {target}: the answer is longer than {ANSWER_MAX} bytes")
        return answer.status, answer.headers.get_content_type(), content

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)

    def envelope(self, key: AccountKey) -> Envelope:
        """What the account's next transaction is bound to. Without a bridge it is written down by hand."""
        account = self.get_accounts_key(key.public.hex())
        chain_id = bytes.fromhex(self.get_authority()["chain_id"])
        return Envelope(chain_id, account["next_nonce"], account["height"] + EXPIRY_BLOCKS)

    def signed(self, body: Body, key: AccountKey) -> SignedTransaction:
        """Signs `body` as the account's next transaction."""
        return sign(body, self.envelope(key), key)


def _word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
