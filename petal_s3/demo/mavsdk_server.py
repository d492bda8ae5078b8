"""An autopilot of MAVSDK that serves files: python -m petal_s3.demo.mavsdk_server ROOT URL."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Serve until killed, or until what started it has gone."""
    root, url = sys.argv[1:]
    mavsdk = import_module("mavsdk")
    served_files = import_module("mavsdk.plugins.ftp_server.ftp_server")
    kind = mavsdk.ComponentType.AUTOPILOT
    autopilot = mavsdk.Mavsdk(mavsdk.Configuration.create_with_component_type(kind))
    autopilot.add_any_connection(url)
    server = served_files.FtpServer(autopilot.server_component())
    server.set_root_dir(root)
    sys.stdin.read()


if __name__ == "__main__":
    main()
