"""Fetch files with pymavlink's own client: URL TARGET PATH... Run where the real pymavlink is.

As it is, pymavlink 2.4.50 gives up (73, RemoteReplyTimeout) 3.7 s after its last request, while
replies still come, and may not be told to wait for 5 s: a burst of MAVSDK is 35,840 bytes, which
take 8 s at 57600 baud. Here it waits for longer. A file that ends with a whole block of its 80
bytes it never finishes: it discards MAVSDK's refusal at the end as stale, and asks again.
"""

import functools
import sys
import time
from pathlib import Path

from pymavlink import mavftp, mavutil

link = mavutil.mavlink_connection(sys.argv[1], source_system=255, source_component=190)
assert link.wait_heartbeat(timeout=60) is not None, "no autopilot"
ftp = mavftp.MAVFTP(link, link.target_system, link.target_component)
ftp.process_ftp_reply = functools.partial(ftp.process_ftp_reply, timeout=600)
ftp.cmd_set(["idle_detection_time", "60"])
for path in sys.argv[3:]:
    began = time.monotonic()
    ftp.cmd_get([path, str(Path(sys.argv[2]) / Path(path).name)])
    ended = ftp.process_ftp_reply("OpenFileRO")
    name = "SUCCESS" if ended.error_code == 0 else f"ERROR{ended.error_code}"
    print(path, name, f"{time.monotonic() - began:.3f}", flush=True)
