"""Follows the ledger: prints each event as it comes, and goes on after the last one that it printed before.

    python3 events.py https://bridge.example:8443 --ca-file ca.pem --cursor cursor.txt

The cursor is written after the event was printed, so that none is lost when this program is stopped; the last one may
come twice.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from connect import arguments, connect


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cursor", type=Path, help="file that keeps what was printed last")
    parser.add_argument("--after", default="start", help="id of an event, start or now; the file goes before")
    parser.add_argument("--types", help="words of the catalogue, separated by commas")
    parser.add_argument("--once", action="store_true", help="end where the ledger ends")
    args = parser.parse_args()

    bridge, after = connect(args), args.after
    if args.cursor is not None and args.cursor.exists():
        after = args.cursor.read_text("ascii")
    while True:
        page = bridge.get_events(after=after, types=args.types)
        if "gap" in page:
            raise SystemExit(f"events are missing: {page['gap']['reason']}; read anew what you keep a copy of")
        for event in page["events"]:
            print(json.dumps(event), flush=True)
        after = page.get("cursor", after)
        if args.cursor is not None:
            args.cursor.write_text(after, "ascii")
        if not page["more"]:
            if args.once:
                return
            time.sleep(1)


if __name__ == "__main__":
    main()
