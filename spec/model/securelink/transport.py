"""Chunks and ISO-TP as frames (C12, C20 to C25)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .primitives import Refused, require, u8, u16

ISO_TP = 0xF1


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
        kind = data[0] >> 4 if data else 15
        if kind == 0:
            length = data[0] & 15
            return data[1 : 1 + length] if 1 <= length <= len(data) - 1 else None
        if kind == 1 and len(data) == 8:
            if key in self.long:
                self.dropped += 1
            length = (data[0] & 15) << 8 | data[1]
            if length > 7:
                self.long[key] = _Long(length, data[2:], 1, now_ms)
            return None
        state = self.long.get(key)
        if kind != 2 or state is None:
            # Flow control runs against the data and carries none.
            return None
        if data[0] & 15 != state.next_number or now_ms - state.last_ms > 1000:
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
