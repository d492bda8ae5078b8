"""The functions of petal_s3.tools for an agent, as an MCP server on standard input and output.

Each line is a JSON-RPC 2.0 message (Model Context Protocol, 2024-11-05). An agent that speaks MCP
starts it as

    {"command": "python", "args": ["agent_tools.py"], "env": {"PETAL_S3_BUCKET_NAME": "my-logs"}}

No framework: names, descriptions and arguments are read from the functions themselves.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from petal_s3 import __version__, tools

FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    one.__name__: one
    for one in (
        tools.upload_log_to_s3,
        tools.get_s3_file_content,
        tools.list_session_logs,
        tools.generate_presigned_url,
    )
}


def described(function: Callable[..., object]) -> dict[str, Any]:
    """What an agent is told of a function: its name, what it does, its arguments as JSON Schema."""
    parameters = inspect.signature(function).parameters.values()
    return {
        "name": function.__name__,
        "description": inspect.getdoc(function),
        "inputSchema": {
            "type": "object",
            "properties": {
                one.name: TypeAdapter(one.annotation).json_schema() for one in parameters
            },
            "required": [one.name for one in parameters if one.default is one.empty],
        },
    }


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The answer of a function; it raises nothing for what an agent gives it."""
    function = FUNCTIONS.get(name)
    if function is None:
        found: dict[str, Any] = {"error": f"There is no tool {name!r}.", "code": "bad_input"}
    elif unknown := arguments.keys() - inspect.signature(function).parameters.keys():
        found = {"error": f"{name} takes no {', '.join(sorted(unknown))}.", "code": "bad_input"}
    else:
        found = function(**arguments)
    text = json.dumps(found, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "isError": "error" in found}


def answer(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """The result of a request; raises ``LookupError`` for a method that is not known."""
    if method == "initialize":
        return {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "petal-s3", "version": __version__},
        }
    if method == "tools/list":
        return {"tools": [described(one) for one in FUNCTIONS.values()]}
    if method == "tools/call":
        return called(str(given.get("name")), dict(given.get("arguments") or {}))
    if method == "ping":
        return {}
    raise LookupError(method)


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue  # a notification
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            reply["result"] = answer(str(asked.get("method")), asked.get("params") or {})
        except LookupError as error:
            reply["error"] = {"code": -32601, "message": f"There is no method {error}."}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
