"""Bind request, introduction and binding record (H46, H48, H49)."""

from __future__ import annotations

from dataclasses import dataclass

from . import attestation
from .identity import spk_id
from .primitives import require, sha256, sign, u8, u32, verify


@dataclass(frozen=True)
class Request:
    """A bind request (H46)."""

    binding_id: bytes
    cid: bytes
    role: int
    cid_partner: bytes
    role_partner: int
    nonce: bytes
    access: bytes

    def signed(self, authority_scalar: bytes) -> bytes:
        body = (
            u8(1)
            + self.binding_id
            + self.cid
            + u8(self.role)
            + self.cid_partner
            + u8(self.role_partner)
            + self.nonce
            + u8(len(self.access))
            + self.access
        )
        return body + sign(authority_scalar, b"modbatt1 bind-request" + body)


def check_request(data: bytes, authority_key: bytes, cid: bytes, role: int) -> Request:
    """What an entity does with a bind request: layout, signature, addressee."""
    require(len(data) >= 132 and data[0] == 1, "Malformed", "head of a bind request")
    length = data[67]
    require(length <= 96 and len(data) == 68 + length + 64, "Malformed", "length of a bind request")
    verify(authority_key, b"modbatt1 bind-request" + data[:-64], data[-64:])
    request = Request(data[1:17], data[17:33], data[33], data[34:50], data[50], data[51:67], data[68:-64])
    require((request.cid, request.role) == (cid, role), "WrongParty", "bind request for another entity")
    return request


def access_commit(access: bytes, blind: bytes) -> bytes:
    return sha256(access + blind)


@dataclass(frozen=True)
class Introduction:
    """648 bytes that introduce a partner (H48); `assurance` is a code of H71."""

    binding_id: bytes
    cid: bytes
    partner_certificate: bytes
    batch_certificate: bytes
    partner_spk: bytes
    nonce: bytes
    attestation: bytes
    access_commit_a: bytes
    access_commit_b: bytes
    time: int
    assurance: int = 1

    def signed(self, authority_scalar: bytes) -> bytes:
        body = (
            u8(2)
            + self.binding_id
            + self.cid
            + self.partner_certificate
            + self.batch_certificate
            + self.partner_spk
            + self.nonce
            + self.attestation
            + self.access_commit_a
            + self.access_commit_b
            + u32(self.time)
            + u8(self.assurance)
        )
        return body + sign(authority_scalar, b"modbatt1 bind-peer" + body)


def check_introduction(data: bytes, authority_key: bytes, root_key: bytes, request: Request) -> bytes:
    """The partner's semi-public key, checked in the order of H48, with an assurance that needs attestation."""
    require(len(data) == 648 and data[0] == 2, "Malformed", "length of an introduction")
    verify(authority_key, b"modbatt1 bind-peer" + data[:-64], data[-64:])
    require(data[1:17] == request.binding_id, "WrongParty", "another binding")
    require(data[17:33] == request.cid, "WrongParty", "for another entity")
    require(data[583] in (1, 3), "Malformed", "assurance without attestation is not for this model")
    device, batch = data[33:200], data[200:367]
    spk, nonce, signature = data[367:435], data[435:451], data[451:515]
    time = int.from_bytes(data[579:583], "big")
    identity_key = attestation.check_chain(device, batch, root_key, time)
    partner = (device[4:20], device[20])
    require(partner == (request.cid_partner, request.role_partner), "WrongParty", "another partner")
    attestation.check_spk(identity_key, *partner, spk, request.cid, nonce, signature)
    return spk


@dataclass(frozen=True)
class Party:
    """One side of a binding record."""

    cid: bytes
    role: int
    spk: bytes
    access_commit: bytes

    @property
    def bytes(self) -> bytes:
        return self.cid + u8(self.role) + self.spk[2:35] + spk_id(self.spk) + self.access_commit


def record(binding_id: bytes, a: Party, b: Party, time: int, assurance: int) -> bytes:
    """202 bytes; both entities and the authority sign `"modbatt1 bindrec" || record` (H49)."""
    return u8(1) + binding_id + a.bytes + b.bytes + u32(time) + u8(assurance)


def record_message(data: bytes) -> bytes:
    return b"modbatt1 bindrec" + data
