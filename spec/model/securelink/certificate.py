"""The pairing certificate, its sections and the half exchange (H50 to H54)."""

from __future__ import annotations

from dataclasses import dataclass

from . import hpke
from .cbor import Value, decode, encode
from .identity import SemiPublicKey, spk_id
from .primitives import (
    SUITE,
    Refused,
    extract,
    gcm_open,
    gcm_seal,
    require,
    sha256,
    sign,
    u8,
    u16,
    u64,
    verify,
)
from .schedule import derive

TAG_A, TAG_B, TAG_V = 0x0A, 0x0B, 0x0C


def check_metadata(data: bytes) -> dict[int, Value]:
    """H50: canonical, at most 512 bytes, keys 1 to 6 and no other, every field in its range."""
    require(len(data) <= 512, "Malformed", "metadata too long")
    value = decode(data)
    require(isinstance(value, dict) and list(value) == [1, 2, 3, 4, 5, 6], "Malformed", "keys of the metadata")
    assert isinstance(value, dict)
    fields = value[1]
    require(isinstance(fields, dict) and list(fields) == [1, 2, 3, 4, 5, 6], "Malformed", "fields of the pairing")
    assert isinstance(fields, dict)
    _bytes(fields[1], 16)
    require(fields[2] in (1, 2, 3, 4), "Malformed", "context")
    entities = _list(fields[3], 2, 2)
    for entity in entities:
        parts = _list(entity, 3, 3)
        _bytes(parts[0], 16)
        require(isinstance(parts[1], int) and 0 <= parts[1] <= 4, "Malformed", "role")
        require(isinstance(parts[2], bytes) and len(parts[2]) <= 96, "Malformed", "access data")
    created, valid_from, expires, uses = (_number(part, 32) for part in _list(fields[4], 4, 4))
    del created, uses
    require(expires > valid_from, "Malformed", "expires before valid_from")
    require(_number(fields[5], 8) < 8, "Malformed", "operations")
    for bases in (fields[6], value[5]):
        for base in _list(bases, 0, 16):
            _number(base, 16)
    _bytes(value[2], 32)
    _bytes(value[3], 16)
    _number(value[4], 32)
    _number(value[6], 32)
    return value


def _bytes(value: Value, length: int) -> None:
    require(isinstance(value, bytes) and len(value) == length, "Malformed", "byte string of the metadata")


def _list(value: Value, least: int, most: int) -> list[Value]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise Refused("Malformed", "list of the metadata")
    return value


def _number(value: Value, bits: int) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise Refused("Malformed", "number of the metadata")
    return value


@dataclass(frozen=True)
class Certificate:
    """Everything that the authority puts in, and the bytes that come out (H51)."""

    pairing_id: bytes
    metadata: bytes
    half_a: bytes
    half_b: bytes
    exchange_key: bytes
    spk_a: bytes
    spk_b: bytes
    authority: SemiPublicKey
    ephemeral_a: bytes
    ephemeral_b: bytes
    section_v_iv: bytes
    validation_nonce: bytes
    endpoint: str
    timeout_s: int
    v_flags: int = 0

    @property
    def metadata_hash(self) -> bytes:
        return sha256(self.metadata)

    def info(self, tag: int) -> bytes:
        return section_info(
            tag, self.pairing_id, self.metadata_hash, spk_id(self.spk_a), spk_id(self.spk_b), self.authority.id
        )

    @property
    def section_a(self) -> bytes:
        sealed = hpke.seal(self.spk_a[35:68], self.ephemeral_a, self.info(TAG_A), self._secret(self.half_a))
        return u8(TAG_A) + spk_id(self.spk_a) + sealed

    @property
    def section_b(self) -> bytes:
        sealed = hpke.seal(self.spk_b[35:68], self.ephemeral_b, self.info(TAG_B), self._secret(self.half_b))
        return u8(TAG_B) + spk_id(self.spk_b) + sealed

    def _secret(self, half: bytes) -> bytes:
        return half + self.metadata_hash + self.exchange_key

    @property
    def token(self) -> bytes:
        return sign(self.authority.sign_scalar, b"modbatt1 vtoken" + self.pairing_id + self.validation_nonce)

    @property
    def section_v(self) -> bytes:
        key, commit = section_v_keys(self.metadata_hash, self.half_a + self.half_b, self.pairing_id)
        endpoint = self.endpoint.encode("ascii")
        plaintext = (
            self.validation_nonce + u8(len(endpoint)) + endpoint + self.token + u16(self.timeout_s) + u8(self.v_flags)
        )
        aad = b"modbatt1 cert-v" + self.pairing_id + self.metadata_hash
        sealed = gcm_seal(key, self.section_v_iv, aad, plaintext)
        return u8(TAG_V) + commit + self.section_v_iv + u16(len(plaintext)) + sealed

    @property
    def bytes(self) -> bytes:
        head = u8(1) + u8(SUITE) + self.pairing_id + u16(len(self.metadata)) + self.metadata
        body = head + self.section_a + self.section_b + self.section_v
        return body + sign(self.authority.sign_scalar, b"modbatt1 paircert" + body)


def section_info(
    tag: int, pairing_id: bytes, metadata_hash: bytes, id_a: bytes, id_b: bytes, id_authority: bytes
) -> bytes:
    return b"modbatt1 cert-sec" + u8(tag) + pairing_id + metadata_hash + id_a + id_b + id_authority


def section_v_keys(metadata_hash: bytes, pk64: bytes, pairing_id: bytes) -> tuple[bytes, bytes]:
    """Key of V and pk_commit (H51)."""
    prk = extract(metadata_hash, pk64)
    return derive(prk, "cert v", pairing_id, 32), derive(prk, "pk commit", pairing_id, 32)


@dataclass(frozen=True)
class Parsed:
    """A certificate taken apart (H51); nothing is checked but the layout."""

    pairing_id: bytes
    metadata: bytes
    sections: dict[int, bytes]
    signed: bytes
    signature: bytes


def parse(data: bytes) -> Parsed:
    require(len(data) >= 20 and data[:2] == bytes((1, SUITE)), "Malformed", "head of a certificate")
    end = 20 + int.from_bytes(data[18:20], "big")
    metadata = data[20:end]
    sections: dict[int, bytes] = {}
    for tag in (TAG_A, TAG_B):
        require(len(data) >= end + 186 and data[end] == tag, "Malformed", "section of a certificate")
        sections[tag] = data[end + 1 : end + 186]
        end += 186
    require(len(data) >= end + 47 and data[end] == TAG_V, "Malformed", "section V")
    length = int.from_bytes(data[end + 45 : end + 47], "big")
    sections[TAG_V] = data[end + 1 : end + 47 + length + 16]
    end += 47 + length + 16
    require(len(data) == end + 64, "Malformed", "length of a certificate")
    return Parsed(data[2:18], metadata, sections, data[:end], data[end:])


def accept(data: bytes, own: SemiPublicKey, tag: int, other_id: bytes, authority_spk: bytes) -> tuple[bytes, bytes]:
    """The half and the exchange key, if `own` may take this certificate (H53, without the state of a device)."""
    parsed = parse(data)
    verify(authority_spk[2:35], b"modbatt1 paircert" + parsed.signed, parsed.signature)
    metadata = check_metadata(parsed.metadata)
    fields = metadata[1]
    assert isinstance(fields, dict)
    require(fields[1] == parsed.pairing_id, "WrongParty", "pairing_id of metadata and certificate differ")
    return open_section(parsed, own, tag, other_id, authority_spk)


def open_section(
    parsed: Parsed, own: SemiPublicKey, tag: int, other_id: bytes, authority_spk: bytes
) -> tuple[bytes, bytes]:
    section = parsed.sections[tag]
    require(section[:8] == own.id, "WrongParty", "section for another key")
    ids = (own.id, other_id) if tag == TAG_A else (other_id, own.id)
    digest = sha256(parsed.metadata)
    info = section_info(tag, parsed.pairing_id, digest, *ids, spk_id(authority_spk))
    plaintext = hpke.open_sealed(own.kem_scalar, info, section[8:])
    require(len(plaintext) == 96, "Malformed", "plaintext of a section")
    require(plaintext[32:64] == digest, "NotAuthentic", "cm_hash of the section")
    return plaintext[:32], plaintext[64:]


def open_validation(parsed: Parsed, pk64: bytes, authority_spk: bytes) -> tuple[bytes, str, int]:
    """Nonce, endpoint and time-out of V; the commitment is compared before it is opened (H52, H54)."""
    section = parsed.sections[TAG_V]
    digest = sha256(parsed.metadata)
    key, commit = section_v_keys(digest, pk64, parsed.pairing_id)
    require(section[:32] == commit, "NotAuthentic", "pk_commit")
    aad = b"modbatt1 cert-v" + parsed.pairing_id + digest
    plain = gcm_open(key, section[32:44], aad, section[46:])
    end = 33 + plain[32]
    require(len(plain) == end + 67 and plain[-1] == 0 and plain[32] <= 128, "Malformed", "plaintext of V")
    verify(authority_spk[2:35], b"modbatt1 vtoken" + parsed.pairing_id + plain[:32], plain[end : end + 64])
    return plain[:32], plain[33:end].decode("ascii"), int.from_bytes(plain[end + 64 : end + 66], "big")


def half_exchange(metadata_hash: bytes, exchange_key: bytes, pairing_id: bytes, side: str, half: bytes) -> bytes:
    """HX, 60 bytes (H52)."""
    prk = extract(metadata_hash, exchange_key)
    base4 = derive(prk, f"hx iv {side}", pairing_id, 4)
    nonce = base4 + u64(0)
    aad = b"modbatt1 hx" + side.encode("ascii") + pairing_id
    return nonce + gcm_seal(derive(prk, f"hx {side}", pairing_id, 32), nonce, aad, half)


def completion_message(pairing_id: bytes, nonce: bytes, cert_hash: bytes, th4: bytes) -> bytes:
    """What both entities sign when the pairing stands (H54)."""
    return b"modbatt1 pair-complete" + pairing_id + nonce + cert_hash + th4


def example_metadata(
    pairing_id: bytes,
    entities: tuple[tuple[bytes, int, bytes], tuple[bytes, int, bytes]],
    timing: tuple[int, int, int, int],
    salt: bytes,
    iv_seed: bytes,
) -> bytes:
    """Metadata as H50 has it, battery management, read and write, with nothing allowed clear or compact."""
    fields: dict[int, Value] = {
        1: pairing_id,
        2: 1,
        3: [[cid, role, access] for cid, role, access in entities],
        4: list(timing),
        5: 3,
        6: [],
    }
    metadata: dict[int, Value] = {1: fields, 2: salt, 3: iv_seed, 4: 1, 5: [], 6: 0}
    return encode(metadata)
