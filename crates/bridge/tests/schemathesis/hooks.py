"""What Schemathesis cannot know: who it is, what the ledger holds, and requests that are signed as they must be."""

import atexit
import collections
import json
import os
import random
import re
import time
from pathlib import Path

import requests
import schemathesis
from modbatt.keys import AccountKey
from modbatt.session import Credential

WORLD = json.loads(os.environ["MODBATT_WORLD"])
#: Which of the known names a parameter of the path means, by the beginning of the path.
KINDS = {
    "/components/": "component",
    "/energy/transfers/": None,
    "/energy/": "component",
    "/accounts/": "key",
    "/bindings/": "binding",
    "/delegations/": "delegation",
    "/ledger/blocks/": "height",
    "/ledger/state/": "state",
    "/mrh/": "entity",
    "/orders/": "order",
    "/policies/": "binding",
    "/telemetry/": "component",
    "/pairings/": "pairing",
    "/lct/": "lct",
    "/transactions/": "hash",
    "/receipts/{id}/": "component",
    "/receipts/": "hash",
    "/webhooks/": "webhook",
}
#: A session ends its presence after five minutes (A135).
RENEWED_S = 240


class Proved(requests.auth.AuthBase):
    """Signs each request as the administrator of the test, who logs in anew before his presence ends."""

    def __init__(self):
        self.key = AccountKey.generate()
        self.credential, self.since = None, 0.0

    def log_in(self):
        body = {"user": WORLD["user"], "passphrase": WORLD["passphrase"], "key": self.key.public.hex()}
        while True:
            answer = requests.post(f"{WORLD['address']}/api/v1/sessions", json=body, timeout=30)
            if answer.status_code != 429:
                answer.raise_for_status()
                break
            time.sleep(int(answer.headers["Retry-After"]))
        self.credential, self.since = Credential(answer.json()["token"], self.key), time.monotonic()

    def __call__(self, request):
        if self.credential is None or time.monotonic() - self.since > RENEWED_S:
            self.log_in()
        authority = WORLD["address"].removeprefix("http://")
        request.headers.update(self.credential.headers(request.method, authority, request.path_url))
        return request


schemathesis.auth.set_from_requests(Proved())


def known(path, draw):
    """Names of things that are there for the parameters of a path; none where nothing is known."""
    inner = path.removeprefix("/api/v1")
    kind = next((kind for begin, kind in KINDS.items() if inner.startswith(begin)), None)
    names, parameters = WORLD["known"].get(kind), re.findall(r"{(\w+)}", path)
    if not names or not parameters:
        return {}
    return {parameters[0]: draw.choice(names), **{name: draw.randrange(1, 100) for name in parameters[1:]}}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, methods in raw_schema["paths"].items():
        for method, operation in methods.items():
            example = WORLD["examples"].get(f"{method.upper()} {path}", {})
            names = example.get("path_parameters") or known(path, random.Random(0))
            for parameter in operation.get("parameters", []):
                if parameter["name"] in names:
                    parameter["example"] = names[parameter["name"]]
            if "body" in example:
                operation["requestBody"]["content"]["application/json"]["example"] = example["body"]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # The generated value decides, so that a seed repeats the run.
    draw = random.Random(repr(path_parameters))
    if not path_parameters or draw.random() < 0.5:
        return path_parameters
    return {**path_parameters, **known(context.operation.path, draw)}


ANSWERS = collections.defaultdict(collections.Counter)


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS[case.operation.label][response.status_code] += 1


@atexit.register
def report():
    Path(WORLD["report"]).write_text(json.dumps(ANSWERS))
