"""Level-5 commands and their answers (H36, H37)."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import require, sha256, sign, u8, u16, u32, verify


@dataclass(frozen=True)
class Command:
    """`challenge` is 4 bytes as they came from the target."""

    type: int
    seq: int
    challenge: bytes
    ttl_ms: int
    command: bytes

    def message(self, th4: bytes, epoch: int) -> bytes:
        """What is signed."""
        fields = u16(self.type) + u32(self.seq) + self.challenge + u16(self.ttl_ms)
        return b"modbatt1 cmd" + th4 + u32(epoch) + fields + sha256(self.command)

    def body(self, scalar: bytes, th4: bytes, epoch: int) -> bytes:
        require(len(self.challenge) == 4 and len(self.command) <= 16, "Malformed", "level-5 command")
        head = u16(self.type) + u32(self.seq) + self.challenge + u16(self.ttl_ms)
        return head + self.command + sign(scalar, self.message(th4, epoch))


def open_body(body: bytes, base: int, public: bytes, th4: bytes, epoch: int) -> Command:
    """Takes a body apart and checks type and signature; challenge and seq are the target's state."""
    require(76 <= len(body) <= 92, "Malformed", "length of a level-5 body")
    command = Command(
        int.from_bytes(body[:2], "big"),
        int.from_bytes(body[2:6], "big"),
        body[6:10],
        int.from_bytes(body[10:12], "big"),
        body[12:-64],
    )
    require(command.type == base, "Malformed", "type is not the base of the message")
    verify(public, command.message(th4, epoch), body[-64:])
    return command


def answer(seq: int, result: int, challenge: bytes) -> bytes:
    """COMMAND_ACK with its type byte (H37)."""
    return u8(0x11) + u32(seq) + u8(result) + challenge
