"""The other end of tests/peers.rs: python-can and can-isotp on a UDP multicast bus.

Reads one command per line from standard input, a JSON object with the key "do", and answers each with one JSON
object on standard output.
"""

import json
import sys
import time

import can
import isotp

bus = None
stack = None
errors = []


class Stack(isotp.CanStack):
    """can-isotp, which sends a number of waits before each flow control of status 0."""

    waits = 0

    def _make_flow_control(self, flow_status=isotp.protocol.PDU.FlowStatus.ContinueToSend, **more):
        if flow_status == isotp.protocol.PDU.FlowStatus.ContinueToSend:
            for _ in range(self.waits):
                wait = super()._make_flow_control(flow_status=isotp.protocol.PDU.FlowStatus.Wait)
                self.bus.send(
                    can.Message(
                        arbitration_id=wait.arbitration_id,
                        is_extended_id=wait.is_extended_id,
                        is_fd=wait.is_fd,
                        data=wait.data,
                    )
                )
                time.sleep(0.005)
        return super()._make_flow_control(flow_status=flow_status, **more)


def join(command):
    global bus
    bus = can.Bus(interface="udp_multicast", channel=command["group"], port=command["port"], hop_limit=0)
    return {"versions": [can.__version__, isotp.__version__]}


def start(command):
    """A stack with the given identifiers and parameters, in place of the one before."""
    global stack
    if stack is not None:
        stack.stop()
    errors.clear()
    while bus.recv(0) is not None:
        pass
    address = isotp.Address(isotp.AddressingMode.Normal_29bits, rxid=command["rx"], txid=command["tx"])
    params = {
        "rx_flowcontrol_timeout": 5000,
        "rx_consecutive_frame_timeout": 5000,
        **command["params"],
    }
    stack = Stack(bus=bus, address=address, error_handler=errors.append, params=params)
    # What it thinks of our faults is in the answers.
    stack.logger.disabled = True
    stack.waits = command.get("waits", 0)
    stack.start()
    return {}


def send(command):
    stack.send(bytes.fromhex(command["data"]))
    end = time.monotonic() + 20
    while stack.transmitting() and time.monotonic() < end:
        time.sleep(0.001)
    return {"errors": [type(error).__name__ for error in errors]}


def receive(command):
    data = stack.recv(block=True, timeout=command["timeout"])
    return {"data": data and data.hex(), "errors": [type(error).__name__ for error in errors]}


FIELDS = [
    "arbitration_id",
    "is_extended_id",
    "is_remote_frame",
    "is_error_frame",
    "is_fd",
    "bitrate_switch",
    "error_state_indicator",
    "dlc",
]


def emit(command):
    """Sends frames given field by field."""
    for fields in command["frames"]:
        data = None if fields["is_remote_frame"] else bytes.fromhex(fields["data"])
        bus.send(can.Message(check=True, **{name: fields[name] for name in FIELDS}, data=data))
    return {}


def listen(command):
    """The next frames that are not the own ones, field by field."""
    frames = []
    end = time.monotonic() + command["timeout"]
    while len(frames) < command["count"]:
        message = bus.recv(max(0, end - time.monotonic()))
        if message is None:
            break
        if not 0 <= time.time() - message.timestamp < 60:
            raise ValueError(f"timestamp {message.timestamp}")
        frames.append({**{name: getattr(message, name) for name in FIELDS}, "data": message.data.hex()})
    return {"frames": frames}


COMMANDS = {"join": join, "start": start, "send": send, "receive": receive, "emit": emit, "listen": listen}

for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(COMMANDS[command["do"]](command)), flush=True)

if stack is not None:
    stack.stop()
if bus is not None:
    bus.shutdown()
