"""What the examples share: where the bridge is, and who asks."""

from __future__ import annotations

import argparse
import os
from getpass import getpass
from pathlib import Path

from modbatt import Client


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser that knows the bridge."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bridge", help="address, for example http://127.0.0.1:8080")
    parser.add_argument("--ca-file", type=Path, help="certificates that the bridge's own chains to")
    parser.add_argument("--user", help="who asks; the passphrase is MODBATT_PASSPHRASE in the environment, or asked for")
    return parser


def connect(args: argparse.Namespace) -> Client:
    """A client of the bridge that the arguments name; logged in where they name a user."""
    bridge = Client(args.bridge, ca_file=args.ca_file)
    if args.user is not None:
        bridge.log_in(args.user, os.environ.get("MODBATT_PASSPHRASE") or getpass(f"passphrase of {args.user}: "))
    return bridge
