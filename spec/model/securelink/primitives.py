"""The primitives of the one suite (H1, H2, H3) and the errors of H39 and H62."""

from __future__ import annotations

import hashlib
import hmac as std_hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: Order of the group of P-256.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

SUITE = 1
ZERO_32 = bytes(32)


class Refused(Exception):
    """Something was refused; `reason` is a name of H39 or H62, the text says which check failed."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


def require(holds: bool, reason: str, text: str) -> None:
    """Refuses with `reason` unless the condition holds."""
    if not holds:
        raise Refused(reason, text)


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac(key: bytes, data: bytes) -> bytes:
    return std_hmac.new(key, data, hashlib.sha256).digest()


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract of RFC 5869; an absent salt is the caller's affair."""
    return hmac(salt, secret)


def expand(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869."""
    blocks = b""
    block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac(secret, block + info + u8(number))
        blocks += block
    return blocks[:length]


def gcm_seal(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """AES-256-GCM: ciphertext and 16 bytes of tag."""
    return AESGCM(key).encrypt(nonce, plaintext, aad)


def gcm_open(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    require(len(sealed) >= 16, "Malformed", "shorter than a tag")
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused("NotAuthentic", "tag of AES-256-GCM") from None


def ctr(key: bytes, first_block: bytes, data: bytes) -> bytes:
    """AES-256-CTR from a full first counter block."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(first_block)).encryptor()
    return cipher.update(data) + cipher.finalize()


def private_key(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    value = int.from_bytes(scalar, "big")
    require(len(scalar) == 32 and 0 < value < ORDER, "InvalidKey", "scalar out of range")
    return ec.derive_private_key(value, ec.SECP256R1())


def public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """A point as H3 has it: compressed with first byte 02 or 03, or 65 bytes uncompressed."""
    compressed = len(point) == 33 and point[0] in (2, 3)
    uncompressed = len(point) == 65 and point[0] == 4
    require(compressed or uncompressed, "InvalidKey", "length or first byte of a point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise Refused("InvalidKey", "not on the curve") from None


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def uncompressed(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_of(scalar: bytes) -> bytes:
    """The compressed public key of a scalar."""
    return compressed(private_key(scalar).public_key())


def agree(scalar: bytes, point: bytes) -> bytes:
    """The x-coordinate of the agreement, 32 bytes."""
    return private_key(scalar).exchange(ec.ECDH(), public_key(point))


def sign(scalar: bytes, message: bytes) -> bytes:
    """Raw `r || s` over H(message), hashed once, low s, nonces of RFC 6979 without added entropy (H3)."""
    der = private_key(scalar).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def verify(point: bytes, message: bytes, signature: bytes) -> None:
    """Refuses all but a low-s signature over H(message) (H3)."""
    key = public_key(point)
    require(len(signature) == 64, "Malformed", "length of a signature")
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    require(0 < r < ORDER and 0 < s < ORDER, "NotAuthentic", "r or s out of range")
    require(s <= ORDER // 2, "NotAuthentic", "high s")
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Refused("NotAuthentic", "signature") from None


def high_s(signature: bytes) -> bytes:
    """The other signature that plain ECDSA would take for the same message."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + (ORDER - s).to_bytes(32, "big")
