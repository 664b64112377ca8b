"""Reads one telemetry record of a pack with its receipt, and verifies it without trusting the bridge.

    python3 telemetry.py https://bridge.example:8443 --ca-file ca.pem --trust genesis.json pack-0001 41

The trust file is the genesis of the chain, or its validators (spec/api.md, A42); it comes from whom you trust, not from
the bridge that is asked.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from connect import arguments, connect
from modbatt import Client, Refusal
from modbatt.receipts import trust_of, verify
from modbatt.transactions import cid


def receipt_of(bridge: Client, component: str, seq: int) -> bytes:
    """Waits for the block behind that of the record: only then is it certified."""
    while True:
        try:
            return bridge.get_receipts_id_seq(component, seq)
        except Refusal as refusal:
            if refusal.code != "W4_ERR_RECEIPT_PENDING":
                raise
            time.sleep(1)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--trust", type=Path, required=True, help="genesis or validators of the chain")
    parser.add_argument("component", help="component id of the pack")
    parser.add_argument("seq", type=int, help="number of the record")
    args = parser.parse_args()

    bridge = connect(args)
    proved = verify(receipt_of(bridge, args.component, args.seq), trust_of(args.trust))
    record = proved.record
    if record is None or record.cid != cid(args.component) or record.seq != args.seq:
        raise SystemExit(f"the receipt proves something else than record {args.seq} of {args.component}")
    shown = {"seq": record.seq, "time_ms": record.time_ms, "kind": record.kind, "values": record.values}
    print(json.dumps({**shown, "height": proved.height, "transaction": proved.transaction.hex()}))


if __name__ == "__main__":
    main()
