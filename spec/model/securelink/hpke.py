"""HPKE base mode, single shot, KEM 0x0010, KDF 0x0001, AEAD 0x0002 (RFC 9180; H2, H6).

Own code, because vectors need a fixed ephemeral scalar. What is sealed is `enc 65 || ciphertext || tag 16`.
"""

from __future__ import annotations

from .primitives import (
    agree,
    expand,
    extract,
    gcm_open,
    gcm_seal,
    private_key,
    public_key,
    require,
    u16,
    uncompressed,
)

KEM = b"KEM" + u16(0x0010)
SUITE = b"HPKE" + u16(0x0010) + u16(0x0001) + u16(0x0002)


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + secret)


def _labeled_expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(secret, u16(length) + b"HPKE-v1" + suite + label + info, length)


def _key_and_nonce(shared: bytes, enc: bytes, recipient: bytes, info: bytes) -> tuple[bytes, bytes]:
    eae = _labeled_extract(KEM, b"", b"eae_prk", shared)
    secret = _labeled_expand(KEM, eae, b"shared_secret", enc + recipient, 32)
    psk_id_hash = _labeled_extract(SUITE, b"", b"psk_id_hash", b"")
    info_hash = _labeled_extract(SUITE, b"", b"info_hash", info)
    context = b"\x00" + psk_id_hash + info_hash
    schedule = _labeled_extract(SUITE, secret, b"secret", b"")
    key = _labeled_expand(SUITE, schedule, b"key", context, 32)
    return key, _labeled_expand(SUITE, schedule, b"base_nonce", context, 12)


def seal(recipient: bytes, ephemeral_scalar: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Seals to the compressed KEM key `recipient` with this ephemeral scalar; the AAD is empty."""
    whole = uncompressed(public_key(recipient))
    enc = uncompressed(private_key(ephemeral_scalar).public_key())
    key, nonce = _key_and_nonce(agree(ephemeral_scalar, recipient), enc, whole, info)
    return enc + gcm_seal(key, nonce, b"", plaintext)


def open_sealed(recipient_scalar: bytes, info: bytes, sealed: bytes) -> bytes:
    require(len(sealed) >= 81 and sealed[0] == 4, "Malformed", "sealed to a semi-public key")
    enc = sealed[:65]
    whole = uncompressed(private_key(recipient_scalar).public_key())
    key, nonce = _key_and_nonce(agree(recipient_scalar, enc), enc, whole, info)
    return gcm_open(key, nonce, b"", sealed[65:])
