"""Opens a recording of both buses with a key log, prints the telemetry in it and its totals.

Written from `spec/` alone: recording.md (R), can.md (C), channel.md (H) and modbatt.dbc.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from securelink import dbc, key_log, pcapng
from securelink.primitives import Refused, require
from securelink.transport import Reassembly

#: Bodies in PACK_STATUS_ALL (C43) and MODULE_STATUS_ALL (C41).
PACK_BODIES = (0x410, 0x421, 0x422, 0x423, 0x425, 0x428, 0x429, 0x430)
MODULE_BODIES = (0x502, 0x503, 0x504, 0x507)
#: Bases of security PDUs (C14).
SECURITY = (0x40C, 0x4AC, 0x52C, 0x50C)
#: mV x mA x ms in one mWh (C47).
NANOJOULES_PER_MWH = 3_600_000_000
STATE_ON = 3


@dataclass(frozen=True)
class PackStatus:
    """0x424 (C43)."""

    seq: int
    time_ms: int
    voltage_mv: int
    current_ma: int
    signals: dict[str, Fraction]


@dataclass(frozen=True)
class ModuleScan:
    """0x509 (C42); cells as (mV, whole degC)."""

    node: int
    seq: int
    time_ms: int
    first: int
    cells: list[tuple[int, int]]
    signals: dict[str, Fraction]


def stamp(data: bytes) -> tuple[int, int]:
    """seq and Unix time in ms (C44)."""
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:10], "little")


def pack_status(database: dbc.Database, body: bytes) -> PackStatus:
    require(len(body) == 82, "Malformed", "length of PACK_STATUS_ALL")
    signals: dict[str, Fraction] = {}
    for index, base in enumerate(PACK_BODIES):
        signals |= database.decode(base, body[8 * index : 8 * index + 8])
    voltage = int.from_bytes(body[64:68], "little")
    current = int.from_bytes(body[68:72], "little", signed=True)
    return PackStatus(*stamp(body[72:]), voltage, current, signals)


def module_scan(database: dbc.Database, node: int, body: bytes) -> ModuleScan:
    require(len(body) >= 44 and len(body) == 44 + 3 * body[1], "Malformed", "length of MODULE_SCAN")
    end = 2 + 3 * body[1]
    cells = [(int.from_bytes(body[at : at + 2], "little"), body[at + 2] - 40) for at in range(2, end, 3)]
    signals: dict[str, Fraction] = {}
    for index, base in enumerate(MODULE_BODIES):
        signals |= database.decode(base, body[end + 8 * index : end + 8 * index + 8])
    return ModuleScan(node, *stamp(body[end + 32 :]), body[0], cells, signals)


@dataclass
class Energy:
    """Trapezoids between the measurements of the pack in On (C47)."""

    charged_nj: Fraction = Fraction(0)
    discharged_nj: Fraction = Fraction(0)
    before: PackStatus | None = None

    def take(self, status: PackStatus) -> None:
        if status.signals["PackState"] != STATE_ON:
            self.before = None
            return
        if self.before is not None:
            powers = [s.voltage_mv * s.current_ma for s in (self.before, status)]
            step = Fraction(sum(powers), 2) * (status.time_ms - self.before.time_ms)
            if step < 0:
                self.discharged_nj -= step
            else:
                self.charged_nj += step
        self.before = status


@dataclass
class Totals:
    frames_sealed: int = 0
    frames_clear: int = 0
    opened: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    records: set[tuple[int, int]] = field(default_factory=set)
    energy: Energy = field(default_factory=Energy)


class Reader:
    """Takes the frames of both buses in order of time."""

    def __init__(self, database: dbc.Database, epochs: list[key_log.Epoch]) -> None:
        self.database = database
        self.ring = key_log.Ring()
        for epoch in epochs:
            self.ring.add_epoch(epoch)
        self.buses = {1: Reassembly(), 2: Reassembly()}
        self.totals = Totals()
        # Group frames whose key was not told yet: the pack seals them from its start on (R4).
        self.early: list[tuple[int, bytes]] = []

    def take(self, bus: int, frame: pcapng.Frame) -> PackStatus | ModuleScan | None:
        """A status or scan that this frame completed."""
        if not frame.extended or not frame.identifier >> 17 & 1:
            self.totals.frames_clear += 1
            return None
        self.totals.frames_sealed += 1
        if frame.fd and frame.identifier >> 8 & 0xFF == 0x11:
            message: bytes | None = frame.data
        else:
            message = self.buses[bus].take(frame.identifier, frame.data, frame.time_ns / 1e6)
        if message is None:
            return None
        try:
            lock, base, _, body = self.ring.open(frame.identifier, message)
        except Refused as refused:
            if refused.reason == "UnknownKey" and frame.identifier & 0xD00FF == 0x80000:
                self.early.append((frame.identifier, message))
            else:
                self._refuse(frame.identifier, refused)
            return None
        self.totals.opened[lock.tier] += 1
        return self._message(bus, frame.identifier, lock, base, body)

    def finish(self) -> Totals:
        """The totals, once all frames were taken."""
        for identifier, _ in self.early:
            self._refuse(identifier, Refused("UnknownKey", "group key never told"))
        self.early = []
        return self.totals

    def _refuse(self, identifier: int, refused: Refused) -> None:
        level = ("dev", "exch", "pair", "bind")[identifier >> 18 & 3]
        self.totals.refused[f"{refused.reason} at {level}"] += 1

    def _retry(self) -> None:
        """A group key arrived: frames from before it, in their order."""
        waiting, self.early = self.early, []
        for identifier, message in waiting:
            try:
                self.ring.open(identifier, message)
                self.totals.opened["grp"] += 1
            except Refused:
                self.early.append((identifier, message))

    def _message(
        self, bus: int, can_id: int, lock: key_log.Lock, base: int, body: bytes
    ) -> PackStatus | ModuleScan | None:
        if base in SECURITY:
            if body[:1] == b"\x0e" and len(body) == 37 and lock.tier == "pair":
                self.ring.add_group(int.from_bytes(body[1:5], "big"), body[5:], lock.source)
                self._retry()
            return None
        if bus == 1 and base == 0x424:
            status = pack_status(self.database, body)
            self.totals.records.add((0, status.seq))
            self.totals.energy.take(status)
            return status
        if bus == 2 and base == 0x509:
            scan = module_scan(self.database, can_id & 0xFF, body)
            self.totals.records.add((scan.node, scan.seq))
            return scan
        return None


def merged(folder: Path) -> Iterator[tuple[int, pcapng.Frame]]:
    """The frames of both buses in order of time."""
    buses = ([(f.time_ns, bus, f) for f in pcapng.frames(folder / f"can{bus}.pcapng")] for bus in (1, 2))
    for _, bus, frame in heapq.merge(*buses, key=lambda item: item[:2]):
        yield bus, frame


def row(item: PackStatus | ModuleScan) -> str:
    """One line of print."""
    if isinstance(item, PackStatus):
        shown = ("PackState", "Soc", "ActiveModules")
        signals = " ".join(f"{name}={float(item.signals[name]):g}" for name in shown if name in item.signals)
        return f"{item.time_ms} pack {item.seq} {item.voltage_mv} mV {item.current_ma} mA {signals}"
    cells = " ".join(f"{mv}mV/{celsius}C" for mv, celsius in item.cells)
    state = int(item.signals["ModuleState"])
    return f"{item.time_ms} module {item.node} {item.seq} state {state} from cell {item.first}: {cells}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, help="folder with can1.pcapng and can2.pcapng")
    parser.add_argument("keys", type=Path, help="key log")
    parser.add_argument("--dbc", type=Path, default=Path(__file__).resolve().parent.parent / "modbatt.dbc")
    parser.add_argument("--rows", type=int, default=20, help="rows to print, -1 for all")
    parser.add_argument("--json", action="store_true", help="totals as one JSON object, last")
    args = parser.parse_args()
    reader = Reader(dbc.Database(args.dbc), key_log.read(args.keys))
    printed = 0
    for bus, frame in merged(args.recording):
        item = reader.take(bus, frame)
        if item is not None and (args.rows < 0 or printed < args.rows):
            print(row(item))
            printed += 1
    totals = reader.finish()
    figures = {
        "frames_sealed": totals.frames_sealed,
        "frames_clear": totals.frames_clear,
        "opened": dict(sorted(totals.opened.items())),
        "refused": dict(sorted(totals.refused.items())),
        "records": len(totals.records),
        "energy_discharged_mwh": int(totals.energy.discharged_nj / NANOJOULES_PER_MWH),
        "energy_charged_mwh": int(totals.energy.charged_nj / NANOJOULES_PER_MWH),
    }
    print(json.dumps(figures, sort_keys=True) if args.json else figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
