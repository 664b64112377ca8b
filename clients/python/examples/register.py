"""Registers a component: the statement that the factory gave with it goes to the ledger, signed by the operator's account.

    python3 register.py https://bridge.example:8443 --ca-file ca.pem --key operator.pem --component pack.json

`pack.json` is `{"component_id", "statement", "proof"}`, the last two in base64, as `modbatt factory` writes them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from connect import arguments, connect
from modbatt import AccountKey
from modbatt.transactions import register


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--key", type=Path, required=True, help="PEM file of the operator's account")
    parser.add_argument("--component", type=Path, required=True, help="what the factory gave with the component")
    args = parser.parse_args()

    given = json.loads(args.component.read_text("utf-8"))
    statement, proof = (base64.b64decode(given[name], validate=True) for name in ("statement", "proof"))
    bridge, key = connect(args), AccountKey.load(args.key)
    transaction = bridge.signed(register(statement, proof), key)
    # The same registration again gives the same answer: after a failure this is simply run anew.
    encoded = base64.b64encode(transaction.data).decode()
    done = bridge.post_components_register({"creator": "fleet", "component_data": {}, "transaction": encoded})
    print(json.dumps({"component_id": done["component_id"], "lct_id": done["lct_id"], "txhash": done["txhash"]}))


if __name__ == "__main__":
    main()
