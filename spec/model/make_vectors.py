"""Writes `spec/vectors/link-more.json`, or compares with what is there (`--check`)."""

from __future__ import annotations

import argparse
import json
import sys

from vectorset import (
    binding,
    bootstrap,
    delegation,
    governance,
    lifecycle,
    messages,
    negatives,
    pairing,
    receipts,
    registry,
    trade,
    trust,
)
from vectorset.inputs import SPEC, Cast

TARGET = SPEC / "vectors" / "link-more.json"


def text() -> str:
    cast = Cast()
    exchange = bootstrap.exchange(cast)
    first = bootstrap.groups(cast, exchange)
    code_commit = bytes.fromhex(first["pake"]["code_commit"])
    tree = {
        "inputs": cast.i.tree(),
        **binding.groups(cast, code_commit),
        **first,
        **pairing.groups(cast),
        **messages.groups(cast),
        **lifecycle.groups(cast),
        **delegation.groups(cast),
        **registry.groups(cast),
        **trade.groups(cast),
        **trust.groups(cast),
        **governance.groups(cast),
        **receipts.groups(cast),
        "negatives": negatives.entries(cast, exchange, code_commit),
    }
    return json.dumps(tree, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when the file differs")
    args = parser.parse_args()
    fresh = text()
    tree = json.loads(fresh)
    if args.check:
        if TARGET.read_text("utf-8") != fresh:
            print(f"{TARGET.name} is not what the model computes")
            return 1
    else:
        TARGET.write_text(fresh, "utf-8")
    print(f"{len(tree) - 2} groups, {len(tree['negatives'])} negatives")
    return 0


if __name__ == "__main__":
    sys.exit(main())
