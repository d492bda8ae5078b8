"""An autopilot of MAVSDK that serves files: ROOT URL. Run in the environment of MAVSDK."""

import sys
import time

from mavsdk import ComponentType, Configuration, Mavsdk
from mavsdk.plugins.ftp_server.ftp_server import FtpServer

mavsdk = Mavsdk(Configuration.create_with_component_type(ComponentType.AUTOPILOT))
mavsdk.add_any_connection(sys.argv[2])
server = FtpServer(mavsdk.server_component())
server.set_root_dir(sys.argv[1])
print("serving", flush=True)
while True:
    time.sleep(1)
