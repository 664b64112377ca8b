"""Signals of the clear messages, from `spec/modbatt.dbc` (C2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

SIGNAL = re.compile(r'^ SG_ (\w+) : (\d+)\|(\d+)@1([+-]) \(([^,]+),([^)]+)\) \[[^]]*\] "([^"]*)"')


@dataclass(frozen=True)
class Signal:
    name: str
    start: int
    length: int
    signed: bool
    factor: Fraction
    offset: Fraction
    unit: str

    def value(self, body: bytes) -> Fraction:
        raw = int.from_bytes(body, "little") >> self.start & (1 << self.length) - 1
        if self.signed and raw >> (self.length - 1):
            raw -= 1 << self.length
        return raw * self.factor + self.offset


class Database:
    """Messages by base: the identifier itself on CAN 1, its bits 28..18 on CAN 2 (C10)."""

    def __init__(self, path: Path) -> None:
        self.messages: dict[int, tuple[str, list[Signal]]] = {}
        signals: list[Signal] = []
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("BO_ "):
                _, number, name, _ = line.split(" ", 3)
                identifier = int(number)
                base = (identifier & 0x1FFFFFFF) >> 18 if identifier >> 31 else identifier
                signals = []
                self.messages.setdefault(base, (name.rstrip(":"), signals))
            elif match := SIGNAL.match(line):
                name, start, length, sign, factor, offset, unit = match.groups()
                signals.append(
                    Signal(name, int(start), int(length), sign == "-", Fraction(factor), Fraction(offset), unit)
                )

    def decode(self, base: int, body: bytes) -> dict[str, Fraction]:
        return {signal.name: signal.value(body) for signal in self.messages[base][1]}
