"""Writes src/modbatt/routes.py from the contract of the bridge (OpenAPI 3.1), or checks that it is what is there.

    modbatt openapi | python3 clients/python/generate.py [--check]
"""

from __future__ import annotations

import json
import keyword
import sys
import textwrap
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "src/modbatt/routes.py"
#: Streams, which do not end or do not fit into memory: they have no method here.
STREAMS = ("text/event-stream", "application/vnd.modbatt.archive")
HEAD = '''"""The routes of the bridge and their types, made from its contract by generate.py. Do not change this file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast
from urllib.parse import quote
'''
CLASS = '''

class Routes:
    """One method for each route, named after method and path."""

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        answers: Collection[int] = (200,),
    ) -> Any:
        """Sends a request. A status outside of `answers` is a refusal."""
        raise NotImplementedError
'''
SIMPLE = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "null": "None"}


class Contract:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.schemas: dict[str, Any] = document["components"]["schemas"]

    def named(self, schema: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name = schema["$ref"].rsplit("/", 1)[1]
        return name, self.schemas[name]

    def type_of(self, schema: dict[str, Any]) -> str:
        if "$ref" in schema:
            name, target = self.named(schema)
            return name if is_class(target) else self.type_of(target)
        if "enum" in schema:
            return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                return " | ".join(dict.fromkeys(self.type_of(one) for one in schema[choice]))
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            return " | ".join(self.type_of({**schema, "type": one}) for one in kind)
        if kind == "array":
            return f"list[{self.type_of(schema['items'])}]"
        if kind == "object":
            values = schema.get("additionalProperties")
            return f"dict[str, {self.type_of(values) if isinstance(values, dict) else 'Any'}]"
        return SIMPLE[kind]

    def members(self, schema: dict[str, Any]) -> dict[str, tuple[str, bool]]:
        """Type of each member, and whether it is always there."""
        if "$ref" in schema:
            return self.members(self.named(schema)[1])
        found: dict[str, tuple[str, bool]] = {}
        for part in schema.get("allOf", []):
            found |= self.members(part)
        for part in schema.get("oneOf", []):
            for name, (kind, _) in self.members(part).items():
                found[name] = (kind, False)
        required = schema.get("required", [])
        for name, member in schema.get("properties", {}).items():
            found[name] = (self.type_of(member), name in required)
        return found

    def class_of(self, name: str, schema: dict[str, Any]) -> str:
        lines = {n: kind if always else f"NotRequired[{kind}]" for n, (kind, always) in self.members(schema).items()}
        said = schema.get("description", name)
        if any(keyword.iskeyword(n) for n in lines):
            inner = "".join(f'        "{n}": {json.dumps(kind)},\n' for n, kind in lines.items())
            return f'\n\n{comment(said)}{name} = TypedDict(\n    "{name}",\n    {{\n{inner}    }},\n)\n'
        inner = "".join(f"    {n}: {kind}\n" for n, kind in lines.items())
        return f"\n\nclass {name}(TypedDict):\n{documented(said, '    ')}\n{inner}"

    def method_of(self, path: str, method: str, operation: dict[str, Any]) -> str:
        content = operation["responses"].get("200", {}).get("content", {})
        if not content or any(media in content for media in STREAMS):
            return ""
        arguments, query, address = ["self"], [], path
        for one in operation.get("parameters", []):
            name, kind = one["name"], self.type_of(one["schema"])
            if one["in"] == "path":
                arguments.append(f"{name}: {kind}")
                address = address.replace(f"{{{name}}}", f"{{quote(str({name}), safe='')}}")
            elif one["in"] == "query":
                kind = kind.removesuffix(" | None")
                query.append((name, kind if one.get("required") else f"{kind} | None = None"))
        body = "None"
        if "requestBody" in operation:
            arguments.append(f"body: {self.type_of(operation['requestBody']['content']['application/json']['schema'])}")
            body = "body"
        if query:
            arguments += ["*", *(f"{name}: {kind}" for name, kind in query)]
        answer = self.type_of(content["application/json"]["schema"]) if "application/json" in content else "bytes"
        quoted = f'f"{address}"' if "{" in address else f'"{address}"'
        asked = f"{{{', '.join(f'{json.dumps(name)}: {name}' for name, _ in query)}}}" if query else "None"
        own = [status for status, one in operation["responses"].items() if status != "200" and self.is_own(one)]
        answers = f", answers=({', '.join(['200', *own])})" if own else ""
        said = "\n\n".join(part for part in (operation.get("summary"), operation.get("description")) if part)
        return (
            f"\n    def {operation['operationId']}({', '.join(arguments)}) -> {answer}:\n{documented(said, ' ' * 8)}"
            f'        given = self.call("{method.upper()}", {quoted}, {asked}, {body}{answers})\n'
            f"        return cast({json.dumps(answer)}, given)\n"
        )

    def is_own(self, response: dict[str, Any]) -> bool:
        """Whether an answer that is no success has a form of the route's own."""
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        return "$ref" in schema and self.named(schema)[0] != "Problem"

    def module(self) -> str:
        schemas = [(name, one) for name, one in self.schemas.items() if is_class(one)]
        text = HEAD + "".join(self.class_of(name, one) for name, one in schemas) + CLASS
        for path, methods in self.document["paths"].items():
            text += "".join(self.method_of(path, method, one) for method, one in methods.items())
        return text


def is_class(schema: dict[str, Any]) -> bool:
    return "properties" in schema or "allOf" in schema


def documented(said: str, indent: str) -> str:
    lines = textwrap.wrap(" ".join(said.replace("\\", "").split()), 110 - len(indent))
    end = '"""\n' if len(lines) < 2 else f'\n{indent}"""\n'
    return f'{indent}"""' + f"\n{indent}".join(lines) + end


def comment(said: str) -> str:
    return "".join(f"#: {line}\n" for line in textwrap.wrap(" ".join(said.split()), 110))


def main() -> int:
    text = Contract(json.load(sys.stdin)).module()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text("utf-8") == text:
        return 0
    how = "`modbatt openapi | python3 clients/python/generate.py` writes it"
    print(f"{TARGET} is not what the contract says; {how}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
