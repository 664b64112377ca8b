"""A foreign client of gRPC: it knows a bridge by reflection alone (A191, A195, A198).

grpc_peer.py HOST:PORT COMPONENT: exits with 0 if the bridge is as its contract says.
"""

import sys
import tempfile
import urllib.request
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

SERVICE = "api_bridge.v1.APIBridgeService"
FILE = "api_bridge.proto"

address, component = sys.argv[1:]
channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
database = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(database)


def call(service, name, timeout=20, **members):
    """The answer of a method, a list of them for a stream, or the error."""
    method = pool.FindServiceByName(service).FindMethodByName(name)
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    stub = kind(f"/{service}/{name}", request.SerializeToString, answer.FromString)
    asked = stub(request(**members), timeout=timeout)
    if not method.server_streaming:
        return asked
    told = []
    try:
        for one in asked:
            told.append(one)
    except grpc.RpcError as ended:
        return told, ended
    raise AssertionError(f"{name}: a stream ended with OK")


def compiled(text):
    """What the compiler of the protocol makes of a contract."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(text)
        out = Path(folder) / "out"
        failed = protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={out}", FILE])
        assert not failed, "the published contract does not compile"
        return FileDescriptorSet.FromString(out.read_bytes()).file[0]


services = list(database.get_services())
assert SERVICE in services and "grpc.health.v1.Health" in services, services

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
published = compiled(opener.open(f"http://{address}/proto/{FILE}").read())
reflected = FileDescriptorProto()
reflected.CopyFrom(database.FindFileByName(FILE))
assert reflected.source_code_info.location, "reflection tells what members mean"
reflected.ClearField("source_code_info")
assert reflected == published, "reflection and the published contract differ"

found = call(SERVICE, "GetComponent", component_id=component)
assert (found.component_id, found.status) == (component, "active"), found
assert call("grpc.health.v1.Health", "Check").status == 1

events, ended = call(SERVICE, "StreamEvents", timeout=1, after="start", types=["component_registered"])
assert events[0].WhichOneof("item") == "event" and component in events[0].event.data, events
assert ended.code() == grpc.StatusCode.DEADLINE_EXCEEDED, ended

methods = pool.FindServiceByName(SERVICE).methods_by_name
for name in methods:
    if name in ("GetAccounts", "StreamEvents"):
        continue
    try:
        answer = call(SERVICE, name)
        _, refused = answer if isinstance(answer, tuple) else (None, None)
        assert refused is not None, f"{name}: an empty message is answered"
    except grpc.RpcError as error:
        refused = error
    trailers = dict(refused.trailing_metadata())
    wrong = f"{name}: {refused.code()} {trailers}"
    assert refused.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED), wrong
    assert trailers["w4-error-code"].startswith("W4_ERR_") and trailers["w4-status"] in ("400", "403"), wrong

print(f"{len(methods)} methods")
