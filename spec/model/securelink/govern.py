"""Changes of the chain and configuration of packs (ledger.md, L11, L21, L160 to L162, L175 to L178)."""

from __future__ import annotations

from .cbor import Value
from .level5 import Command
from .primitives import sign, u64
from .trust import CONSTANTS

ACCOUNT, ROOTS, PARAMS, VALIDATORS, RULES, SET, REPORT = range(42, 49)

#: Keys 1 to 10 and 50 to 53 of L11.
DEFAULTS: dict[int, Value] = {
    1: 1000,
    2: 1_048_576,
    3: 16_384,
    4: 100,
    5: 300_000,
    6: 7_776_000,
    7: 100,
    8: 100_000,
    9: 1,
    10: 0,
    50: 86_400,
    51: 86_400,
    52: 0,
    53: 7_776_000,
}

#: The message that sets a parameter (L175).
WRITE = 0x403


def params(changed: dict[int, Value]) -> Value:
    """L11 with L196, all of them."""
    constants: dict[int, Value] = {key: list(row) for key, row in CONSTANTS.items()}
    return {0: 1, **DEFAULTS, **constants, **changed}


def root_message(chain: bytes, height: int, goes: bytes, comes: bytes) -> bytes:
    """L162: what the root that goes signs; `comes` is empty when none does."""
    return b"modbatt1 root" + chain + u64(height) + goes + comes


def roots(chain: bytes, height: int, comes: bytes, goes: bytes, scalar: bytes | None) -> Value:
    """Content of kind 43; the root that goes signs when its scalar is given."""
    signature = sign(scalar, root_message(chain, height, goes, comes)) if scalar else b""
    return [comes, goes, signature]


def value(number: int) -> bytes:
    """Four bytes, two's complement."""
    return number.to_bytes(4, "big", signed=True)


def write(parameter: int, number: int) -> bytes:
    """A write of the value to the register of a parameter (C8), little-endian in bytes 4 to 7."""
    return bytes([0x40 + parameter, 0, 0, 0]) + number.to_bytes(4, "little", signed=True)


def reference(event: bytes, pairing: bytes, epoch: int, command: Command) -> Value:
    """L178."""
    challenge = int.from_bytes(command.challenge, "big")
    return [event, pairing, epoch, command.seq, challenge, command.ttl_ms, command.command]
