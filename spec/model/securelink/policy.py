"""The class policy table and the policy hash (C90 to C94, H55)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .primitives import require, sha256, u8, u16

CLEAR, DEV, EXCH, PAIR, LEVEL5, BIND, GROUP, NEVER = 0, 1, 2, 3, 4, 5, 0xFE, 0xFF

#: What satisfies a code (C92). "pair5" is pair tier with a level-5 signature.
SATISFIED: dict[int, set[str]] = {
    CLEAR: {"clear", "dev", "exch", "pair", "pair5", "bind"},
    DEV: {"dev", "exch", "pair", "pair5", "bind"},
    EXCH: {"exch", "pair", "pair5", "bind"},
    PAIR: {"pair", "pair5", "bind"},
    LEVEL5: {"pair5"},
    BIND: {"bind"},
    GROUP: {"group", "pair", "pair5"},
    NEVER: set(),
}


@dataclass(frozen=True)
class Row:
    first: int
    last: int
    flags: int
    factory: int
    bootstrap: int
    paired: int

    @property
    def bytes(self) -> bytes:
        tail = u8(self.flags) + u8(self.factory) + u8(self.bootstrap) + u8(self.paired)
        return u16(self.first) + u16(self.last) + tail


def parse_rows(text: str) -> list[Row]:
    """Rows from the Markdown table of C90."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("| \n").split("|")]
        if len(cells) == 7 and all(_is_hex(cell) for cell in cells[:6]):
            rows.append(Row(*(int(cell, 16) for cell in cells[:6])))
    return rows


def _is_hex(cell: str) -> bool:
    return cell != "" and all(c in "0123456789ABCDEF" for c in cell)


def table_bytes(rows: list[Row]) -> bytes:
    """C94."""
    require(
        all(row.first <= row.last for row in rows)
        and all(before.last < after.first for before, after in itertools.pairwise(rows)),
        "Malformed",
        "rows of the policy table",
    )
    return u16(len(rows)) + b"".join(row.bytes for row in rows)


def policy_hash(table: bytes, iv_seed: bytes, rotation_days: int = 30) -> bytes:
    """H55: kdf 1, aead 1."""
    return sha256(table + iv_seed + u8(1) + u8(1) + u16(rotation_days))
