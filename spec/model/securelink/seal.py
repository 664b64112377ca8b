"""Sealed messages, padding, compact profiles (H30 to H33) and their identifiers (C10 to C13)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .primitives import ctr, gcm_open, gcm_seal, hmac, require, u8, u16, u32, u64
from .schedule import TierKeys

PADDED, LEVEL5 = 4, 8

#: Longest plaintext of one FD frame per frame length (C27).
FD_LENGTHS = (32, 48, 64)


def identifier(base: int, level: int, direction: str, device: int, transport: int = 0x11) -> int:
    """The 29 bits of a sealed frame (C10)."""
    require(0x400 <= base <= 0x5FF, "Malformed", "base cannot be sealed")
    d = 0 if direction == "ab" else 1
    return (base - 0x400 >> 2) << 20 | level << 18 | 1 << 17 | d << 16 | transport << 8 | device


def canonical(can_id: int) -> int:
    """C13."""
    return 0x80000000 | can_id & 0x1FFF00FF


def aad(can_id: int, epoch: int, length: int) -> bytes:
    """H31: 12 bytes."""
    return u8(1) + u8(can_id >> 18 & 3) + u32(canonical(can_id)) + u32(epoch) + u16(length)


def plaintext(base: int, body: bytes, *, level5: bool = False, frame: int | None = None) -> bytes:
    """Header byte, body and, for one FD frame of `frame` bytes, padding (H32)."""
    header = base & 3 | (LEVEL5 if level5 else 0)
    text = u8(header) + body
    if frame is None or len(text) + 28 == frame:
        return text
    count = frame - 28 - len(text)
    require(count > 0, "BufferTooSmall", "does not fit the frame")
    return u8(header | PADDED) + body + bytes(count - 1) + u8(count)


def split_plaintext(text: bytes, can_id: int) -> tuple[int, bool, bytes]:
    """Base, level-5 bit and body, padding checked and removed (H32, C10)."""
    require(len(text) >= 1 and text[0] & 0xF0 == 0, "Malformed", "header byte")
    body = text[1:]
    if text[0] & PADDED:
        require(len(body) >= 1 and 1 <= body[-1] <= len(body), "Malformed", "number of padding bytes")
        count = body[-1]
        require(body[-count:-1] == bytes(count - 1), "Malformed", "padding is not zero")
        body = body[:-count]
    return 0x400 | (can_id >> 20 & 0x1FF) << 2 & 0x3FF | text[0] & 3, bool(text[0] & LEVEL5), body


def seal(keys: TierKeys, can_id: int, epoch: int, counter: int, text: bytes) -> bytes:
    """H30."""
    nonce = keys.base4 + u64(counter)
    return nonce + gcm_seal(keys.key, nonce, aad(can_id, epoch, len(text)), text)


@dataclass
class Opener:
    """The receiving end of one tier, direction and epoch, with its window (H38, H42)."""

    keys: TierKeys
    epoch: int
    strict: bool
    highest: int = -1
    seen: set[int] = field(default_factory=set)

    def open(self, can_id: int, message: bytes) -> tuple[int, bool, bytes]:
        """Steps 3 to 8 of H38: base, level-5 bit and body."""
        require(len(message) >= 29, "Malformed", "shorter than 29 bytes")
        require(message[:4] == self.keys.base4, "UnknownKey", "base4 of another epoch, tier or direction")
        counter = int.from_bytes(message[4:12], "big")
        require(self._admits(counter), "Replayed", "counter")
        length = len(message) - 28
        text = gcm_open(self.keys.key, message[:12], aad(can_id, self.epoch, length), message[12:])
        self.seen.add(counter)
        self.highest = max(self.highest, counter)
        return split_plaintext(text, can_id)

    def _admits(self, counter: int) -> bool:
        if counter > self.highest:
            return True
        return not self.strict and self.highest - counter < 64 and counter not in self.seen


def compact(keys: TierKeys, profile: int, can_id: int, epoch: int, counter: int, data: bytes) -> list[bytes]:
    """The frames of C1 and C2 (H33)."""
    require(len(data) == (4 if profile == 1 else 8), "Malformed", "length of a compact message")
    ciphertext = ctr(keys.compact_key, keys.base4 + u64(counter) + u32(1), data)
    covered = aad(can_id, epoch, len(data)) + keys.base4 + u64(counter) + ciphertext
    tag = hmac(keys.mac, f"modbatt1 c{profile}".encode("ascii") + covered)
    if profile == 1:
        return [u64(counter)[7:] + ciphertext + tag[:3]]
    return [ciphertext, u64(counter)[6:] + tag[:6]]


def open_compact(
    keys: TierKeys, can_id: int, epoch: int, message: bytes, bases: tuple[int, ...], last: int
) -> tuple[int, int, bytes]:
    """Base, counter and body of a C1 or C2 message after the counter `last` (H33, H97)."""
    require(len(message) in (8, 16), "Malformed", "length of a compact message")
    family = 0x400 | (can_id >> 20 & 0x1FF) << 2 & 0x3FF
    listed = [base for base in bases if base & 0x7FC == family]
    require(bool(listed), "Policy", "no base of this family may be compact")
    if len(message) == 8:
        profile, low, ciphertext, tag = 1, message[0], message[1:5], message[5:]
    else:
        profile, low, ciphertext, tag = 2, int.from_bytes(message[8:10], "big"), message[:8], message[10:]
    step = 256 if profile == 1 else 65_536
    counter = last + 1 + (low - last - 1) % step
    covered = aad(can_id, epoch, len(ciphertext)) + keys.base4 + u64(counter) + ciphertext
    found = hmac(keys.mac, f"modbatt1 c{profile}".encode("ascii") + covered)[: len(tag)]
    require(found == tag, "NotAuthentic", "tag of a compact message")
    body = ctr(keys.compact_key, keys.base4 + u64(counter) + u32(1), ciphertext)
    return listed[0], counter, body
