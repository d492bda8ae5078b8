"""Fetch files with MAVSDK's own client: URL TARGET PATH... Run in the environment of MAVSDK."""

import sys
import threading
import time

from mavsdk import ComponentType, Configuration, Mavsdk
from mavsdk.plugins.ftp.ftp import Ftp, FtpResult

mavsdk = Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION))
mavsdk.add_any_connection(sys.argv[1])
system = mavsdk.first_autopilot(60.0)
assert system is not None, "no autopilot"
ftp = Ftp(system)


def fetch(path: str) -> None:
    began, ended = time.monotonic(), threading.Event()

    def told(result: FtpResult, _progress: object, _data: object) -> None:
        if result != FtpResult.NEXT:
            print(path, result.name, f"{time.monotonic() - began:.3f}", flush=True)
            ended.set()

    ftp.download_async(path, sys.argv[2], False, told)
    assert ended.wait(200), "no end"


for name in sys.argv[3:]:
    fetch(name)
