"""Events of the validation levels and their witnesses (tiers.md, V1 to V8)."""

from __future__ import annotations

from dataclasses import dataclass

from . import cbor
from .primitives import require, sha256, sign, u8, u32, u64, verify

ANNOUNCE, STATE_CHANGE, FAULT, ENERGY, TELEMETRY = 0x11, 0x21, 0x22, 0x23, 0x24
SIGNED_HANDSHAKE, PAIRED_HANDSHAKE, COMMAND = 0x31, 0x41, 0x51
PAIRING_COMPLETION, PAIRING_REVOCATION, PAIRING_MODIFICATION = 0x61, 0x62, 0x63
BINDING, BINDING_VERIFICATION, BINDING_REVOCATION, BINDING_REPLACEMENT, OWNERSHIP = 0x71, 0x72, 0x73, 0x74, 0x75
FIXED_LENGTHS = {0x11: 2, 0x23: 32, 0x24: 32, 0x31: 32, 0x51: 32, 0x62: 17, 0x73: 17}
FIXED_LENGTHS |= {code: 48 for code in (0x41, 0x61, 0x63, 0x71, 0x72, 0x74, 0x75)}
FREE_LENGTHS = (0x21, 0x22)
MODULE_ENERGY_LENGTH = 33
EVENT_MAX = 288


@dataclass(frozen=True)
class Event:
    type: int
    cid: bytes
    boot: int
    seq: int
    payload: bytes
    access: tuple[int, str, str] | None = None
    lct: bytes | None = None
    time: int | None = None
    escalation: tuple[int, int, int] | None = None

    @property
    def bytes(self) -> bytes:
        fields: dict[int, cbor.Value] = {0: 1, 1: self.type >> 4, 2: self.type, 3: self.cid}
        fields |= {6: self.boot, 7: self.seq, 9: self.payload}
        if self.access is not None:
            fields[4] = list(self.access)
        if self.lct is not None:
            fields[5] = self.lct
        if self.time is not None:
            fields[8] = self.time
        if self.escalation is not None:
            fields[10] = list(self.escalation)
        return cbor.encode(fields)

    @property
    def message(self) -> bytes:
        return signed_message(self.bytes, self.type >> 4)

    def signature(self, scalar: bytes) -> bytes:
        return sign(scalar, self.message)


def module_energy(cycle: int, event: int, kind: int, start: int, end: int, mwh: int) -> bytes:
    """What a module says flowed through it (H240)."""
    require(cycle > 0 and event > 0 and kind in (1, 2) and start < end and mwh > 0, "Malformed", "energy of a module")
    return u32(cycle) + u32(event) + u8(kind) + u64(start) + u64(end) + u64(mwh)


def signed_message(event: bytes, level: int) -> bytes:
    return b"modbatt1 val" + u8(level) + event


def check(event: bytes, signature: bytes, public: bytes, after: tuple[int, int]) -> tuple[int, int]:
    """(boot, seq), which must be above the last that this verifier saw of the cid (V4)."""
    require(len(event) <= EVENT_MAX, "Malformed", "length of an event")
    fields = cbor.decode(event)
    require(isinstance(fields, dict), "Malformed", "an event is a map")
    assert isinstance(fields, dict)
    needed = {0, 1, 2, 3, 6, 7, 9}
    require(needed <= set(fields) <= needed | {4, 5, 8, 10}, "Malformed", "keys of an event")
    level, kind, payload = fields[1], fields[2], fields[9]
    require(fields[0] == 1, "Malformed", "version")
    require(isinstance(kind, int) and kind >> 4 == level, "Malformed", "level of another type")
    require(isinstance(payload, bytes), "Malformed", "payload")
    assert isinstance(kind, int) and isinstance(payload, bytes) and isinstance(level, int)
    if kind in FREE_LENGTHS:
        require(1 <= len(payload) <= 64, "Malformed", "length of the payload")
    elif kind != ENERGY or len(payload) != MODULE_ENERGY_LENGTH:
        require(FIXED_LENGTHS.get(kind) == len(payload), "Malformed", "type, or length of the payload")
    if 4 in fields:
        _check_access(fields[4])
    if 10 in fields:
        _check_escalation(fields[10], level)
    verify(public, signed_message(event, level), signature)
    boot, seq = fields[6], fields[7]
    require(isinstance(boot, int) and isinstance(seq, int), "Malformed", "boot and seq")
    assert isinstance(boot, int) and isinstance(seq, int)
    require((boot, seq) > after, "Replayed", "boot and seq")
    return boot, seq


def _check_access(value: cbor.Value) -> None:
    require(isinstance(value, list) and len(value) == 3, "Malformed", "access data")
    assert isinstance(value, list)
    protocol, endpoint, device = value
    require(protocol in (1, 2, 3), "Malformed", "protocol")
    require(isinstance(endpoint, str) and 1 <= len(endpoint.encode()) <= 64, "Malformed", "endpoint")
    require(isinstance(device, str) and len(device.encode()) <= 36, "Malformed", "device")


def _check_escalation(value: cbor.Value, level: int) -> None:
    require(isinstance(value, list) and len(value) == 3, "Malformed", "escalation")
    assert isinstance(value, list)
    target, reason, urgency = value
    require(isinstance(target, int) and level < target <= 7, "Malformed", "an escalation rises")
    require(reason in (1, 2, 3) and urgency in (0, 1), "Malformed", "reason or urgency")


def attestation_message(witness: bytes, time: int, event: Event, signature: bytes) -> bytes:
    return b"modbatt1 witness" + u8(1) + witness + u64(time) + sha256(event.message) + signature


def attestation(witness: bytes, time: int, event: Event, signature: bytes, scalar: bytes) -> bytes:
    """`1 | cid of the witness 16 | time u64 | signature 64` (V7)."""
    return u8(1) + witness + u64(time) + sign(scalar, attestation_message(witness, time, event, signature))


def check_attestation(data: bytes, event: Event, signature: bytes, public: bytes) -> None:
    require(len(data) == 89 and data[0] == 1, "Malformed", "length or version of an attestation")
    witness, time = data[1:17], int.from_bytes(data[17:25], "big")
    require(witness != event.cid, "WrongParty", "nobody is the witness of its own event")
    verify(public, attestation_message(witness, time, event, signature), data[25:])
