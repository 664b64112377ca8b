"""Escalation: a request for a higher validation level, and its answer (H152)."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import require, u8, u32

TYPE = 0x08
ANSWER = 0x81


@dataclass(frozen=True)
class Request:
    """`reason` 1 anomaly, 2 threat, 3 audit; `urgency` 0 deferred, 1 immediate."""

    target: int
    reason: int
    urgency: int
    seq: int

    @property
    def pdu(self) -> bytes:
        return u8(TYPE) + u8(self.target) + u8(self.reason) + u8(self.urgency) + u32(self.seq)


def answer(seq: int, level: int) -> bytes:
    return u8(TYPE) + u8(ANSWER) + u32(seq) + u8(level)


def read(pdu: bytes) -> Request | tuple[int, int]:
    """A request, or seq and level of an answer."""
    require(pdu[:1] == u8(TYPE), "Malformed", "type of an escalation")
    if pdu[1:2] == u8(ANSWER):
        require(len(pdu) == 7, "Malformed", "length of an answer")
        return int.from_bytes(pdu[2:6], "big"), pdu[6]
    require(len(pdu) == 8, "Malformed", "length of a request")
    target, reason, urgency = pdu[1], pdu[2], pdu[3]
    require(1 <= target <= 7 and 1 <= reason <= 3 and urgency <= 1, "Malformed", "code of a request")
    return Request(target, reason, urgency, int.from_bytes(pdu[4:], "big"))


def required(least: int, most: int, asked: int) -> int:
    """The level that an operation needs while `asked` is asked for, 0 for nothing (H151)."""
    return max(least, min(asked, most))
