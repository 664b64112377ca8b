"""The same job in Python: seal and cut a message into CAN frames, take it out of the frames again and open it.

python-can carries the frames over its bus within the process, `cryptography` is AES-256-GCM. Prints a JSON list of rows
with the CPU time of this thread for a message in each direction, the median of rounds.
"""

import json
import statistics
import struct
import sys
import time

import can
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MODULES = 32
SIZES = (8, 16, 36, 64)
BASE_ID = (0x508 & 0x3FF) << 18 | 1 << 18 | 1 << 17 | 1 << 16


class Module:
    """Key, counter and replay window of one module."""

    def __init__(self, number):
        self.number = number
        self.aead = AESGCM(bytes([number]) * 32)
        self.base = bytes([number]) * 4
        self.counter = 0
        self.next, self.seen = 0, 0

    def admits(self, counter):
        if counter >= self.next:
            return True
        age = self.next - 1 - counter
        return age < 64 and not self.seen >> age & 1

    def accept(self, counter):
        if counter >= self.next:
            self.seen = (self.seen << (counter + 1 - self.next) | 1) & (1 << 64) - 1
            self.next = counter + 1
        else:
            self.seen |= 1 << (self.next - 1 - counter)


def aad(number, length):
    canonical = 0x80000000 | (BASE_ID | number) & 0x1FFF00FF
    return struct.pack(">BBIIH", 1, 1, canonical, 0, length)


def seal(module, text, bus):
    nonce = module.base + struct.pack(">Q", module.counter)
    module.counter += 1
    sealed = nonce + module.aead.encrypt(nonce, text, aad(module.number, len(text)))
    total = (len(sealed) + 7) // 8
    for cur in range(total):
        transport = (cur + 1 & 15) << 4 | total & 15
        identifier = BASE_ID | transport << 8 | module.number
        chunk = sealed[8 * cur:8 * cur + 8]
        bus.send(can.Message(arbitration_id=identifier, data=chunk, is_extended_id=True))


def receive(modules, bus):
    parts = []
    while True:
        frame = bus.recv(timeout=0)
        if frame is None:
            raise SystemExit("a frame is missing")
        parts.append(bytes(frame.data))
        transport = frame.arbitration_id >> 8 & 0xFF
        cur, total = transport >> 4 or 16, transport & 15 or 16
        if cur == total:
            break
    sealed = b"".join(parts)
    module = modules[frame.arbitration_id & 0xFF]
    counter = struct.unpack_from(">Q", sealed, 4)[0]
    if sealed[:4] != module.base or not module.admits(counter):
        raise SystemExit("a message is not of this epoch or was seen before")
    text = module.aead.decrypt(sealed[:12], sealed[12:], aad(module.number, len(sealed) - 28))
    module.accept(counter)
    return text


def main():
    rounds, turn = (3, 16) if "--quick" in sys.argv else (41, 64)
    writers = {n: Module(n) for n in range(1, MODULES + 1)}
    readers = {n: Module(n) for n in range(1, MODULES + 1)}
    rows = []
    with can.Bus(interface="virtual", channel="bench") as out, \
            can.Bus(interface="virtual", channel="bench") as into:
        for size in SIZES:
            text, spent = bytes([0xA5]) * size, {"seal": [], "open": []}
            for _ in range(rounds):
                start = time.thread_time_ns()
                for i in range(turn):
                    seal(writers[i % MODULES + 1], text, out)
                between = time.thread_time_ns()
                for _ in range(turn):
                    if receive(readers, into) != text:
                        raise SystemExit("a message came out otherwise than it went in")
                end = time.thread_time_ns()
                spent["seal"].append((between - start) / turn)
                spent["open"].append((end - between) / turn)
            for direction, values in spent.items():
                rows.append({"size": size, "direction": direction, "path_ns": statistics.median(values)})
    print(json.dumps(rows))


main()
