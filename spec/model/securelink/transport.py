"""Chunks and ISO-TP as frames (C12, C20 to C25)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .primitives import Refused, require, u8, u16

ISO_TP = 0xF1
#: Lengths that a first frame can have (C122).
FIRST_FRAMES = (8, 12, 16, 20, 24, 32, 48, 64)


def with_transport(can_id: int, transport: int) -> int:
    return can_id & ~0xFF00 | transport << 8


def chunks(can_id: int, message: bytes) -> list[tuple[int, bytes]]:
    """The frames of a message of 1 to 128 bytes (C21)."""
    require(1 <= len(message) <= 128, "Malformed", "length of a message in chunks")
    parts = [message[start : start + 8] for start in range(0, len(message), 8)]
    total = len(parts) & 15
    return [(with_transport(can_id, (number & 15) << 4 | total), part) for number, part in enumerate(parts, 1)]


def iso_tp(message: bytes) -> list[bytes]:
    """First and consecutive frames of a classical ISO-TP message, the last unpadded (C23)."""
    frames = [u16(0x1000 | len(message)) + message[:6]]
    for number, start in enumerate(range(6, len(message), 7), 1):
        frames.append(u8(0x20 | number & 15) + message[start : start + 7])
    return frames


@dataclass
class _Chunks:
    total: int
    parts: list[bytes]
    since_ms: float


@dataclass
class _Long:
    length: int
    can_dl: int
    data: bytes
    next_number: int
    last_ms: float


@dataclass
class Reassembly:
    """Gives whole messages from the frames of one bus; what does not fit is dropped and counted (C22, C23)."""

    chunked: dict[int, _Chunks] = field(default_factory=dict)
    long: dict[int, _Long] = field(default_factory=dict)
    dropped: int = 0

    def take(self, can_id: int, data: bytes, now_ms: float) -> bytes | None:
        """The message that this frame completes. `can_id` is a sealed or a security identifier."""
        transport = can_id >> 8 & 0xFF
        key = can_id & 0x1FFF00FF
        if transport == ISO_TP:
            return self._long(key, data, now_ms)
        number, total = (transport >> 4) or 16, (transport & 15) or 16
        if number > total or (total == 1 and transport != 0x11):
            raise Refused("Malformed", "transport byte without meaning")
        return self._chunk(key, number, total, data, now_ms)

    def _drop(self, key: int) -> None:
        self.chunked.pop(key, None)
        self.dropped += 1

    def _chunk(self, key: int, number: int, total: int, data: bytes, now_ms: float) -> bytes | None:
        if total == 1:
            if self.chunked.pop(key, None) is not None:
                self.dropped += 1
            return data or None
        whole = 8 if number < total else len(data)
        if len(data) != whole or not 1 <= len(data) <= 8:
            self._drop(key)
            return None
        if number == 1:
            if key in self.chunked:
                self.dropped += 1
            self.chunked[key] = _Chunks(total, [data], now_ms)
            return None
        state = self.chunked.get(key)
        if state is None or now_ms - state.since_ms > 50 or state.total != total:
            self._drop(key)
            return None
        if number <= len(state.parts):
            if state.parts[number - 1] != data:
                self._drop(key)
            return None
        if number != len(state.parts) + 1:
            self._drop(key)
            return None
        state.parts.append(data)
        if number < total:
            return None
        del self.chunked[key]
        return b"".join(state.parts)

    def _long(self, key: int, data: bytes, now_ms: float) -> bytes | None:
        """C122; flow control runs against the data and carries none, so it is nothing here."""
        kind = data[0] >> 4 if data else 15
        if kind == 0:
            return self._single(key, data)
        if kind == 1:
            length = (data[0] & 15) << 8 | data[1] if len(data) > 1 else 0
            if len(data) in FIRST_FRAMES and length > (7 if len(data) == 8 else len(data) - 2):
                self.dropped += key in self.long
                self.long[key] = _Long(length, len(data), data[2:], 1, now_ms)
            return None
        state = self.long.get(key)
        if kind != 2 or state is None:
            return None
        state_after = len(state.data) + len(data) - 1
        whole = len(data) == state.can_dl or (len(data) < state.can_dl and state_after >= state.length)
        if not whole or data[0] & 15 != state.next_number or now_ms - state.last_ms > 1000:
            del self.long[key]
            self.dropped += 1
            return None
        state.data += data[1:]
        state.next_number = state.next_number + 1 & 15
        state.last_ms = now_ms
        if len(state.data) < state.length:
            return None
        del self.long[key]
        return state.data[: state.length]

    def _single(self, key: int, data: bytes) -> bytes | None:
        escaped = len(data) > 8
        length, start = (data[1], 2) if escaped else (data[0] & 15, 1)
        fits = start + length <= len(data) and (data[0] == 0 and 8 <= length <= 62 if escaped else 1 <= length <= 7)
        if not fits:
            return None
        if self.long.pop(key, None) is not None:
            self.dropped += 1
        return data[start : start + length]
