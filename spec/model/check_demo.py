"""Runs `modbatt demo` twice on one data directory, records it, and compares what the reader finds with what it says.

The first run is undisturbed: every record, and the energy, must be found. The second goes on from flash, so that its
keys come from RESUME, with bits flipped in sealed messages: just those must not open.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from read_telemetry import NANOJOULES_PER_MWH, Reader, Totals, merged
from securelink import dbc, key_log, receipt
from securelink.primitives import Refused

SPEC = Path(__file__).resolve().parent.parent
ROWS = 400
FLIPS = 5
TIMEOUT_S = 120

COLUMNS = (
    ["Total Time", "Current", "Voltage", "Amp-Hours", "Watt-Hours"]
    + [f"Cell Voltage A{cell}" for cell in range(1, 7)]
    + [f"Temperature A{sensor}" for sensor in range(1, 4)]
)


def tester_file() -> str:
    """A pack at rest, then discharging, then charging: one row a second, as a tester writes it."""
    lines = ["Test Name,model", ",", ",".join(COLUMNS)]
    amp_hours = watt_hours = 0.0
    for second in range(1, ROWS + 1):
        current = 0.0 if second <= 20 else -65.0 if second <= 300 else 40.0
        cells = [3.9 - 0.001 * abs(second - 150) / 10 + 0.003 * cell for cell in range(6)]
        voltage = sum(cells)
        amp_hours += current / 3600
        watt_hours += current * voltage / 3600
        fields = [f"{second:.1f}", f"{current:g}", f"{voltage:.3f}", f"{amp_hours:.4f}", f"{watt_hours:.4f}"]
        fields += [f"{cell:.3f}" for cell in cells] + ["25", "25.5", "26"]
        lines.append(",".join(fields))
    lines.append(f"Total Number of Data Lines in the Database: {ROWS:07d}")
    return "\r\n".join(lines) + "\r\n"


def demo(binary: Path, folder: Path, name: str, *more: str) -> dict[str, Any]:
    """One run; its recording is in `folder/name`, its key log beside that."""
    command = [str(binary), "demo", "--replay", str(folder / "tester.csv"), "--headless", "--speed", "max"]
    command += ["--json", "--data-dir", str(folder / "data"), "--record", str(folder / name)]
    command += ["--key-log", str(folder / f"{name}.keys"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        sys.exit(f"the demo failed:\n{done.stderr}")
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def read(folder: Path, name: str) -> Totals:
    reader = Reader(dbc.Database(SPEC / "modbatt.dbc"), key_log.read(folder / f"{name}.keys"))
    for bus, frame in merged(folder / name):
        reader.take(bus, frame)
    return reader.finish()


def expect(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"the reader and the demo disagree: {what}")


def close(found: int, told: int) -> bool:
    """Within 0.5 %."""
    return abs(found - told) * 200 <= told


def receipts(data: Path) -> tuple[int, int]:
    """Verifies the receipts of the demo, as far as this model reads their kinds; how many hold, and how many with one
    changed byte are refused."""
    genesis = json.loads((data / "genesis.json").read_text("utf-8"))
    validators = [(bytes.fromhex(v["key"]), int(v["power"])) for v in genesis["validators"]]
    trust = receipt.Trust(bytes.fromhex(genesis["chain_id"]), validators)
    held = refused = 0
    for path in sorted((data / "receipts").glob("*.receipt")):
        file = path.read_bytes()
        try:
            receipt.check(file, trust)
        except Refused as error:
            expect("none of those that this model reads" in str(error), f"{path.name}: {error}")
            continue
        held += 1
        for at in range(held % 7, len(file), 97):
            expect(receipt.refused(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :], trust), f"{path.name}, byte {at}")
            refused += 1
    return held, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path, help="modbatt")
    parser.add_argument("folder", type=Path, help="empty folder for everything that the runs make")
    args = parser.parse_args()
    folder: Path = args.folder
    folder.mkdir(parents=True)
    (folder / "tester.csv").write_text(tester_file(), "ascii")

    line, totals = demo(args.binary, folder, "first"), read(folder, "first")
    expect(not totals.refused, f"messages did not open: {dict(totals.refused)}")
    expect(line["records"] == 4 * ROWS, f"{line['records']} records told, {4 * ROWS} made")
    expect(len(totals.records) == line["records"], f"{len(totals.records)} of {line['records']} records")
    expect(totals.frames_sealed == line["frames_sealed"], "sealed frames")
    expect(totals.frames_clear == line["frames_clear"], "clear frames")
    discharged, charged = (
        int(energy / NANOJOULES_PER_MWH) for energy in (totals.energy.discharged_nj, totals.energy.charged_nj)
    )
    told = line["energy_discharged_mwh"], line["energy_charged_mwh"]
    expect(min(told) > 1000 and close(discharged, told[0]) and close(charged, told[1]), f"{told} mWh")
    print(
        f"{sum(totals.opened.values())} messages opened {dict(sorted(totals.opened.items()))}, "
        f"{len(totals.records)} records, {discharged} of {told[0]} mWh discharged, {charged} of {told[1]} charged"
    )
    held, refused_receipts = receipts(folder / "data")
    expect(held >= 10, f"only {held} receipts were read")
    print(f"{held} receipts verified from the specification, {refused_receipts} with one changed byte refused")

    line, totals = demo(args.binary, folder, "second", "--fault", f"flip={FLIPS}"), read(folder, "second")
    expect(line["open_failures"] == FLIPS, f"{line['open_failures']} failures told, {FLIPS} made")
    refused = dict(totals.refused)
    expect(sum(refused.values()) == FLIPS, f"not opened: {refused}")
    expect(all(reason.startswith("NotAuthentic") for reason in refused), f"refused for {refused}")
    print(f"{sum(totals.opened.values())} messages of the resumed channels opened, {FLIPS} damaged ones refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
