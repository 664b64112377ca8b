"""Shows the packs of a fleet: state, energy, trust, and what each is bound to.

    python3 fleet.py https://bridge.example:8443 --ca-file ca.pem --user ann
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from connect import arguments, connect
from modbatt import Client, Refusal
from modbatt.routes import ListedComponent


def packs(bridge: Client) -> Iterator[ListedComponent]:
    """Every pack, page by page (A204)."""
    after = None
    while True:
        page = bridge.get_components(role="pack", after=after)
        yield from page["components"]
        after = page.get("next")
        if after is None:
            return


def main() -> None:
    bridge = connect(arguments(__doc__).parse_args())
    for pack in packs(bridge):
        name = pack["component_id"]
        try:
            energy = bridge.get_energy_id(name)["atp_mwh"]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            energy = None
        trust = {one["context"]: one["score"] for one in bridge.get_components_id_trust(name)["contexts"]}
        bound = [one["partner_id"] for one in bridge.get_components_id(name)["bindings"] if one["status"] == "active"]
        print(json.dumps({"pack": name, "status": pack["status"], "energy_mwh": energy, "trust_ppm": trust, "bound": bound}))


if __name__ == "__main__":
    main()
