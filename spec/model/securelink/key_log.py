"""Key logs, and the keys that open a recording (R2, R4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .handshake import BIND, DEV, PAIR, PAKE
from .primitives import Refused, require
from .schedule import LEVELS, TierKeys, group_keys, tier_keys
from .seal import Opener

HEADER = "modbatt-key-log 1"
KINDS = {DEV: ("dev",), BIND: ("bind",), PAIR: ("exch", "pair"), PAKE: ("dev",)}


@dataclass(frozen=True)
class Epoch:
    channel_id: bytes
    epoch: int
    kind: int
    cid_a: bytes
    cid_b: bytes
    master: bytes
    exchange_tag: bytes


def read(path: Path) -> list[Epoch]:
    lines = path.read_text("ascii").splitlines()
    require(bool(lines) and lines[0] == HEADER, "Malformed", f"{path} is no key log")
    epochs = []
    for line in lines[1:]:
        if line.startswith("#"):
            continue
        parts = line.split(" ")
        require(len(parts) == 7, "Malformed", "line of a key log")
        channel, number, kind, cid_a, cid_b, master, tag = parts
        epochs.append(
            Epoch(
                _octets(channel, 8),
                int(number),
                int(kind),
                _octets(cid_a, 16),
                _octets(cid_b, 16),
                _octets(master, 32),
                b"" if tag == "-" else _octets(tag, 16),
            )
        )
    return epochs


def _octets(text: str, length: int) -> bytes:
    value = bytes.fromhex(text)
    require(len(value) == length, "Malformed", "field of a key log")
    return value


@dataclass
class Lock:
    """One key with its window and whose it is."""

    tier: str
    opener: Opener
    source: Epoch


@dataclass
class Ring:
    """All keys of a recording, found by level, direction and base4 (R4)."""

    locks: dict[tuple[int, str, bytes], list[Lock]] = field(default_factory=dict)

    def add_epoch(self, source: Epoch) -> None:
        for tier in KINDS[source.kind]:
            tag = source.exchange_tag if tier == "exch" else b""
            for direction in ("ab", "ba"):
                keys = tier_keys(source.master, tier, direction, source.epoch, source.channel_id, tag)
                strict = tier in ("pair", "bind")
                self._add(tier, direction, Lock(tier, Opener(keys, source.epoch, strict), source))

    def add_group(self, generation: int, key: bytes, source: Epoch) -> None:
        """A group key that pair tier of `source` carried; its pack is A. The same key comes to every module."""
        keys = group_keys(key, generation, source.cid_a)
        if not any(lock.opener.keys == keys for lock in self._found("grp", "ab", keys)):
            self._add("grp", "ab", Lock("grp", Opener(keys, generation, True), source))

    def _found(self, tier: str, direction: str, keys: TierKeys) -> list[Lock]:
        return self.locks.setdefault((LEVELS[tier], direction, keys.base4), [])

    def _add(self, tier: str, direction: str, lock: Lock) -> None:
        self._found(tier, direction, lock.opener.keys).append(lock)

    def open(self, can_id: int, message: bytes) -> tuple[Lock, int, bool, bytes]:
        """The key that opened it, base, level-5 bit, body."""
        direction = "ba" if can_id >> 16 & 1 else "ab"
        refusal = Refused("UnknownKey", "no key with this base4")
        for lock in self.locks.get((can_id >> 18 & 3, direction, message[:4]), []):
            try:
                return (lock, *lock.opener.open(can_id, message))
            except Refused as refused:
                refusal = refused
        raise refusal
