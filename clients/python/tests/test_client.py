"""What needs no bridge: forms, signatures, addresses, answers that are none."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import every_kind
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modbatt import AccountKey, Client, Envelope, FormError, Malformed, Refusal, Signed, Unreachable, sign
from modbatt import transactions as tx
from modbatt.keys import ORDER
from securelink.cbor import decode

KEY = AccountKey.from_scalar(bytes(31) + b"\x05")
ENVELOPE = Envelope(bytes(32), 1, 100)


class Keys(unittest.TestCase):
    def test_signatures_verify_and_have_the_smaller_s(self) -> None:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), KEY.public)
        for n in range(32):
            message = bytes([n])
            signature = KEY.sign(message)
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            self.assertLessEqual(s, ORDER // 2)
            public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))

    def test_a_file_gives_the_same_key_back_and_is_not_overwritten(self) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "key.pem"
            KEY.save(path, b"secret")
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertEqual(AccountKey.load(path, b"secret").public, KEY.public)
            with self.assertRaises(FileExistsError):
                KEY.save(path)

    def test_a_key_shows_its_public_half_only(self) -> None:
        self.assertNotIn("05" * 3, repr(KEY).replace(KEY.public.hex(), ""))
        with self.assertRaises(ValueError):
            AccountKey(ec.generate_private_key(ec.SECP384R1()))


class Forms(unittest.TestCase):
    def test_what_has_no_form_is_refused_by_name(self) -> None:
        signed = Signed(b"x", KEY.public, bytes(64))
        cases: list[tuple[str, Callable[[], object]]] = [
            ("a: 16 bytes", lambda: tx.lct_create(b"", bytes(16), "x")),
            ("context: at most 64", lambda: tx.lct_create(bytes(16), bytes(16), "x" * 65)),
            ("signatures: 3 expected", lambda: tx.bind(b"x", [bytes(64)])),
            ("key: a P-256 key", lambda: tx.energy_event(signed._replace(key=bytes(33)))),
            ("signature: 64 bytes", lambda: tx.energy_event(signed._replace(signature=b""))),
            ("statement: at most 2048", lambda: tx.energy_event(signed._replace(statement=bytes(2049)))),
            ("witnesses: at most 5", lambda: tx.validate(signed, [(b"x", KEY.public)] * 6)),
            ("reason: one of", lambda: tx.lct_status(bytes(32), 1, "bad mood")),
            ("target: one of", lambda: tx.revoke("moon", bytes(16))),
            ("value: a whole number of 32 bits", lambda: tx.config_set(bytes(16), 1, 0, 1 << 31)),
            ("nonce: a whole number", lambda: sign(tx.queue_process(bytes(16)), Envelope(bytes(32), -1, 1), KEY)),
        ]
        for text, make in cases:
            with self.subTest(text), self.assertRaisesRegex(FormError, text):
                make()

    def test_every_builder_is_listed_under_its_kind(self) -> None:
        listed = {builder.__name__ for builders in tx.BUILDERS.values() for builder in builders}
        returns = {name for name, one in vars(tx).items() if getattr(one, "__annotations__", {}).get("return") == "Body"}
        self.assertEqual({name for name in returns if not name.startswith("_")}, listed)

    def test_a_body_of_every_kind_is_made_and_reads_as_made(self) -> None:
        seen = set()
        for body in every_kind.BODIES:
            outer = decode(sign(body, ENVELOPE, KEY).data)
            assert isinstance(outer, dict) and isinstance(outer[1], bytes)
            unsigned = decode(outer[1])
            assert isinstance(unsigned, dict)
            self.assertEqual(unsigned[5], body.value())
            seen.add(body.kind)
        self.assertEqual(seen, set(tx.BUILDERS))

    def test_the_identity_is_the_hash_of_all_bytes(self) -> None:
        done = sign(tx.queue_process(bytes(16)), ENVELOPE, KEY)
        outer = decode(done.data)
        assert isinstance(outer, dict)
        unsigned = decode(outer[1]) if isinstance(outer[1], bytes) else None
        self.assertEqual(unsigned, {0: 1, 1: bytes(32), 2: KEY.public, 3: 1, 4: 100, 5: {0: 1, 1: 40, 2: bytes(16)}})
        self.assertEqual(len(done.id), 32)


class Answers(unittest.TestCase):
    """Against a server that gives one answer to everything."""

    def ask(self, status: int, media: str, body: bytes) -> object:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        try:
            return Client(f"http://127.0.0.1:{server.server_address[1]}").get_health()
        finally:
            thread.join()
            server.server_close()

    def test_answers_are_told_apart(self) -> None:
        self.assertEqual(self.ask(200, "application/json", b'{"status": "healthy"}'), {"status": "healthy"})
        with self.assertRaises(Refusal) as refused:
            self.ask(503, "application/json", b'{"error": "later", "code": "W4_ERR_BUSY", "status": 503}')
        self.assertEqual((refused.exception.code, refused.exception.is_transient), ("W4_ERR_BUSY", True))
        for status, media, body in [
            (500, "text/plain", b"oops"),
            (200, "application/json", b"{"),
            (404, "application/json", b"[]"),
            (200, "application/json", b" " * ((2 << 20) + 1)),
        ]:
            with self.subTest(body=body[:9]), self.assertRaises(Malformed):
                self.ask(status, media, body)
        with self.assertRaises(Unreachable):
            Client("http://127.0.0.1:1").get_health()

    def test_addresses_that_leave_this_machine_in_clear_are_refused(self) -> None:
        for address in ("http://10.0.0.1:8080", "http://localhost.example.org", "http://127.0.0.1/api", "ftp://x", ""):
            with self.subTest(address), self.assertRaises(ValueError):
                Client(address)


if __name__ == "__main__":
    unittest.main()
