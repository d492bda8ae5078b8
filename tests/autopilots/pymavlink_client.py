"""Fetch files with pymavlink's own client: URL TARGET PATH... Run where the real pymavlink is."""

import sys
import time
from pathlib import Path

from pymavlink import mavftp, mavutil

link = mavutil.mavlink_connection(sys.argv[1], source_system=255, source_component=190)
assert link.wait_heartbeat(timeout=60) is not None, "no autopilot"
ftp = mavftp.MAVFTP(link, link.target_system, link.target_component)
for path in sys.argv[3:]:
    began = time.monotonic()
    ftp.cmd_get([path, str(Path(sys.argv[2]) / Path(path).name)])
    ended = ftp.process_ftp_reply("OpenFileRO", timeout=600)
    name = "SUCCESS" if ended.error_code == 0 else f"ERROR{ended.error_code}"
    print(path, name, f"{time.monotonic() - began:.3f}", flush=True)
