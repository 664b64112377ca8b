"""Account keys: ECDSA on P-256, signatures `r || s` with the smaller `s` (spec/ledger.md, L4)."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class AccountKey:
    """A private key. It shows its public half only."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"a key on P-256 is needed, this one is on {key.curve.name}")
        self._key = key
        #: SEC1 compressed, 33 bytes.
        self.public = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    @classmethod
    def generate(cls) -> AccountKey:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_scalar(cls, scalar: bytes) -> AccountKey:
        """From the 32 bytes of a private scalar."""
        if len(scalar) != 32:
            raise ValueError(f"a scalar has 32 bytes, this one {len(scalar)}")
        return cls(ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path, password: bytes | None = None) -> AccountKey:
        """Reads a PEM file (PKCS#8 or SEC1)."""
        key = load_pem_private_key(path.read_bytes(), password)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds no key of an elliptic curve")
        return cls(key)

    def save(self, path: Path, password: bytes | None = None) -> None:
        """Writes a new PEM file (PKCS#8) that only its owner reads."""
        secret = BestAvailableEncryption(password) if password else NoEncryption()
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))

    def sign(self, message: bytes) -> bytes:
        """64 bytes over the SHA-256 of `message`."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")

    def __repr__(self) -> str:
        return f"AccountKey({self.public.hex()})"
