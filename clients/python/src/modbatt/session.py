"""How a request proves that whoever sends it holds the key of its token (spec/api.md, A134)."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field

from .keys import AccountKey

PROOF_HEADER = "X-Modbatt-Proof"


@dataclass(frozen=True)
class Credential:
    """A token and the key that it is bound to. It does not show the token."""

    token: str = field(repr=False)
    key: AccountKey

    def headers(self, method: str, authority: str, target: str) -> dict[str, str]:
        """The headers of one request: `authority` as in `Host`, `target` with its query, both as they are sent."""
        time_ms, nonce = time.time_ns() // 1_000_000, secrets.token_hex(16)
        token = hashlib.sha256(b"modbatt1 token" + self.token.encode()).hexdigest()
        lines = ["modbatt1 request", method, authority, target, str(time_ms), nonce, token]
        signature = self.key.sign("".join(f"{line}\n" for line in lines).encode())
        return {"Authorization": f"Bearer {self.token}", PROOF_HEADER: f"{time_ms}.{nonce}.{signature.hex()}"}
