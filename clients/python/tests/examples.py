"""Runs the examples against a bridge that crates/bridge/tests/outside.rs started, and looks at what they print."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modbatt import AccountKey, Client, Refusal
from modbatt.receipts import NotProved, trust_of, verify
from modbatt.transactions import queue_process

WORLD = json.loads(os.environ["MODBATT_WORLD"])
EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str, *arguments: str) -> list[dict[str, Any]]:
    """What an example prints, line by line."""
    command = [sys.executable, "-B", str(EXAMPLES / f"{name}.py"), *arguments, "--user", WORLD["user"]]
    environment = {**os.environ, "MODBATT_PASSPHRASE": WORLD["passphrase"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def expect(holds: bool, what: object) -> None:
    if not holds:
        sys.exit(f"unexpected: {what}")


def main() -> None:
    address, trust = WORLD["address"], WORLD["trust"]
    bridge = Client(address)
    try:
        sys.exit(f"nobody gets an answer: {bridge.get_ledger_status()}")
    except Refusal as refusal:
        expect(refusal.code == "W4_ERR_ACCESS_REQUIRED", refusal)
    expect(bridge.get_ready_at_root()["ready"], "ready")
    bridge.log_in(WORLD["user"], WORLD["passphrase"])
    with TemporaryDirectory() as folder:
        key = AccountKey.from_scalar(bytes.fromhex(WORLD["scalar"]))
        pem, component = Path(folder) / "operator.pem", Path(folder) / "component.json"
        key.save(pem)
        component.write_text(json.dumps(WORLD["component"]), "utf-8")
        register = (address, "--key", str(pem), "--component", str(component))
        first, again = example("register", *register)[0], example("register", *register)[0]
        expect(first == again and first["component_id"] == WORLD["component"]["component_id"], (first, again))

    record = example("telemetry", address, "--trust", trust, "pack-0001", "41")[0]
    expect(record["seq"] == 41 and record["values"] == [0, 41, -7], record)
    receipt = bridge.get_receipts_id_seq("pack-0001", 41)
    for at in range(0, len(receipt), 211):
        try:
            verify(receipt[:at] + bytes([receipt[at] ^ 1]) + receipt[at + 1 :], trust_of(Path(trust)))
        except NotProved:
            continue
        sys.exit(f"a receipt with byte {at} changed holds")

    events = example("events", address, "--after", "start", "--once")
    types = [event["event_type"] for event in events]
    expect("component_registered" in types and "pairing_completed" in types, types)
    rest = example("events", address, "--after", events[-2]["id"], "--once")
    expect(rest == events[-1:], (rest, events[-1:]))

    fleet = example("fleet", address)
    expect([pack["pack"] for pack in fleet] == ["pack-0001"], fleet)
    expect(fleet[0]["status"] == "active" and fleet[0]["bound"] == ["app-0001"] and fleet[0]["energy_mwh"] == 0, fleet)

    done = bridge.signed(queue_process(bytes(16)), key)
    try:
        answer = bridge.post_transactions({"transaction": base64.b64encode(done.data).decode()}, wait=1)
        expect(answer["status"] == "refused", answer)
    except Refusal as refusal:
        expect(refusal.status in (403, 404, 409), refusal)


if __name__ == "__main__":
    main()
