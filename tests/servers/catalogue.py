"""How each server is started, and with which credentials it is asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.environments import environment, node

KEY_ID = "DRONEKEY0001"
SECRET = "a-secret-that-opens-test-servers"
_ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
# The host to listen on is fixed to all addresses in this server; these tests use one alone.
_FAUXQS = """
import net from "node:net";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (given, ...more) {
  return listen.call(this, {...given, host: "127.0.0.1"}, ...more);
};
await import(process.env.FAUXQS_SERVER);
"""


@dataclass(frozen=True)
class Start:
    """A command that serves S3 on a port of 127.0.0.1, and its whole environment."""

    command: list[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A server that can be had; ``start`` gets the environment, a data directory and the port."""

    name: str
    start: Callable[[Path, Path, int], Start]
    sse: str = "none"
    """What ``PETAL_S3_SSE`` has to be for it, as it is started here."""
    uploads: str = ""
    """Where below its data it keeps open uploads, if it does not list them."""

    def environment(self) -> Path:
        """Where it is installed; raises :class:`CannotBeHadError`."""
        return environment(self.name)


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def _seaweedfs(made: Path, data: Path, port: int) -> Start:
    keys = data / "s3.json"
    identity = {
        "name": "drone",
        "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    keys.write_text(json.dumps({"identities": [identity]}))
    inner = ("master", "volume", "filer", "admin")
    names = [f"{name}.port{grpc}" for name in inner for grpc in ("", ".grpc")] + ["s3.port.grpc"]
    ports = [f"-{name}={one}" for name, one in zip(names, free_ports(len(names)), strict=True)]
    lance = ["-s3.port.lance=0"] if made.name != "seaweedfs-4.39" else []
    return Start(
        [
            str(made / "bin/weed"),
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={port}",
            f"-s3.config={keys}",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            # Each bucket has volumes of its own, as many as would fit on the disk when they are
            # full: with those of 128 MB a few hundred buckets are all that there is room for.
            "-master.volumeSizeLimitMB=16",
            *lance,
            *ports,
        ],
        {"HOME": str(data)},
    )


def _gateway(made: Path, data: Path, port: int) -> Start:
    """MinIO's gateway before a JuiceFS on this disk."""
    juicefs, meta = str(made / "bin/juicefs"), f"sqlite3://{data}/meta.db"
    home = {"HOME": str(data)}
    subprocess.run(
        [
            juicefs,
            "format",
            "--storage",
            "file",
            "--bucket",
            f"{data}/data/",
            "--trash-days",
            "0",
            meta,
            "volume",
        ],
        env={**_ENV, **home},
        check=True,
        capture_output=True,
        timeout=60,
    )
    (metrics,) = free_ports(1)
    return Start(
        [
            juicefs,
            "--no-agent",
            "gateway",
            "--multi-buckets",
            "--keep-etag",
            "--object-meta",
            "--object-tag",
            "--no-banner",
            "--backup-meta",
            "0",
            "--metrics",
            f"127.0.0.1:{metrics}",
            "--log",
            f"{data}/gateway.log",
            meta,
            f"127.0.0.1:{port}",
        ],
        {**home, "MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET},
    )


def _ministack(made: Path, data: Path, port: int) -> Start:
    # It checks the signatures of presigned URLs alone, against these.
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", **keys}
    return Start([str(made / "bin/ministack")], {**env, "HOME": str(data)})


def _nanio(made: Path, data: Path, port: int) -> Start:
    return Start(
        [
            str(made / "bin/nanio"),
            "serve",
            "--data-dir",
            str(data),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        {"NANIO_ACCESS_KEY": KEY_ID, "NANIO_SECRET_KEY": SECRET},
    )


def _localbucket(made: Path, data: Path, port: int) -> Start:
    return Start([str(made / "bin/localbucket"), "--port", str(port), str(data)])


def _rclone(made: Path, data: Path, port: int) -> Start:
    return Start(
        [
            str(made / "bin/rclone"),
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            f"{KEY_ID},{SECRET}",
            str(data),
        ],
        {"RCLONE_CONFIG": os.devnull, "HOME": str(data)},
    )


def _fauxqs(made: Path, data: Path, port: int) -> Start:
    server = made / "node_modules/fauxqs/dist/server.js"
    return Start(
        [str(node(made)), "--input-type=module", "--eval", _FAUXQS],
        {"FAUXQS_PORT": str(port), "FAUXQS_SERVER": server.as_uri(), "HOME": str(data)},
    )


class _Moto(Kind):
    """It comes with this project's own environment."""

    def environment(self) -> Path:
        return Path(sys.prefix)


def _moto(made: Path, data: Path, port: int) -> Start:
    del made, data
    return Start([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])


KINDS = {
    kind.name: kind
    for kind in (
        Kind("seaweedfs-4.48", _seaweedfs),
        Kind("seaweedfs-4.39", _seaweedfs),
        Kind("juicefs", _gateway),
        Kind("ministack", _ministack, sse="AES256"),
        Kind("nanio", _nanio),
        Kind("localbucket", _localbucket, uploads=".localbucket-uploads"),
        Kind("rclone", _rclone),
        Kind("fauxqs", _fauxqs),
        _Moto("moto", _moto, sse="AES256"),
    )
}
