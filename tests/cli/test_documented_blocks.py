"""Every block of README and docs is run as a reader would run it; a new one cannot be forgotten."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name
from console import HOME, MACHINE, Console, Sea
from documented import ROOT, SUDO, Block, Shell, blocks, blocks_of, parses, words_of
from typer.testing import CliRunner

import petal_s3
from petal_s3 import tools
from petal_s3.cli import main as command_line
from petal_s3.cli import serve_command
from petal_s3.core import settings_yaml
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings_loading import check_settings, load_settings
from petal_s3.demo.host import make_root
from petal_s3.demo.logs import write_ulog
from petal_s3.host import install as host_files
from petal_s3.host import installed
from petal_s3.host.local_service import local_service
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.web.server import Server

KEY = f"{HOME}20250727_143022_flight.ulg"
TEXT = f"{HOME}a.log"
TOKEN = "token-of-the-robot"
RUN = {"sh", "bash", "python", "yaml", "json"}

# Blocks that are not run, by their page and first command: why, and what is looked at instead.
NOT_RUN = {
    ("README.md", "scripts/demo"): "it plays the demo and runs every test; tests/host/test_demo.py"
    " plays the demo",
    ("docs/quickstart.md", "scripts/demo"): "as in the README",
    (
        "docs/standalone.md",
        "contrib/debian/build",
    ): "it takes minutes; `scripts/test external` looks at the unit",
    ("docs/standalone.md", "contrib/oci/build"): "likewise",
    ("docs/guarantees.md", "scripts/test"): "it runs a test; that the test is there is looked at",
    ("docs/servers.md", "scripts/test"): "it installs servers and runs their tests",
}

# What stands for the reader's own, and what it is here.
STANDS_FOR = {
    "https://tokens.example/session": "{token_url}",
    "/opt/petal/venv": "{bin}/opt/petal/venv",
    "/opt/petal-s3": "{bin}/opt/petal-s3",
    "sudo systemctl": "systemctl",
    "sudo systemd-sysusers": "systemd-sysusers",
    "/var/log/app.log": "{work}/app.log",
    "~/.local/state/petal-s3": "{state}",
    "s3://bucket/key": f"s3://logs/{TEXT}",
    "flight_logs/drone-1/a.log": TEXT,
    "my-logs": "logs",
}


def identity(block: Block) -> tuple[str, str]:
    return block.page, block.first.split()[0] if block.first else ""


def is_run(block: Block) -> bool:
    return identity(block) not in NOT_RUN


ALL = [block for block in blocks() if block.language in RUN]
SHELL = [one for one in ALL if one.language in {"sh", "bash"} and is_run(one)]
PYTHON = [one for one in ALL if one.language == "python"]


# -- none is forgotten


def test_every_block_says_its_language_and_is_of_a_kind_that_is_run() -> None:
    plain = [one.name for one in blocks() if one.language not in RUN | {""}]
    assert plain == []
    # Without a language: drawings and formulas, of which none begins like a command.
    commands = re.compile(r"^(\$ )?(petal-s3|curl|pip|sudo|export|python3?|scripts/)", re.MULTILINE)
    assert [one.name for one in blocks() if not one.language and commands.search(one.text)] == []
    assert len(SHELL) >= 11
    assert len(PYTHON) >= 5


def test_what_is_not_run_is_there_has_a_reason_and_can_be_read() -> None:
    left = {identity(one): one for one in ALL if not is_run(one)}
    assert set(left) == set(NOT_RUN)
    for block in left.values():
        assert parses(block.text), block.name
        for line in block.text.splitlines():
            script, *arguments = words_of(line) or ["scripts/test"]
            assert os.access(ROOT / script, os.X_OK), line
            for named in arguments:
                path, _, test = named.partition("::")
                place = ROOT / path if "/" in path else ROOT / "tests" / path
                assert place.exists(), line
                assert not test or f"def {test}(" in place.read_text(), line


def test_a_new_block_is_found() -> None:
    text = "# A page\n\n```sh\nfalse\n```\n\n```python\n1 / 0\n```\n"
    found = [(one.line, one.language, one.first) for one in blocks_of("new.md", text)]
    assert found == [(3, "sh", "false"), (7, "python", "1 / 0")]


# -- the world of a reader


class Reader:
    """A machine with a log, an outbox, a bucket, a REST server and a host; and its shell."""

    def __init__(self, console: Console, sea: Sea, shell: Shell, etc: Path) -> None:
        self.console = console
        self.sea = sea
        self.shell = shell
        self.etc = etc
        self.work = console.directory / "work"
        self.work.mkdir()
        self.said: list[str] = []
        self.root = console.directory / "fs"
        """The file system in which a unit is installed."""
        self.root.mkdir()

    def prepare(self) -> None:
        """A log in the outbox and in the bucket, files at hand."""
        log = self.console.logs / "2025-07-27" / "14_30_22_flight.ulg"
        log.parent.mkdir()
        write_ulog(log, 20_000)
        write_ulog(self.work / "flight.ulg", 20_000, seed=4)
        self.sea.cloud.put_object(
            Bucket="logs", Key=KEY, Body=log.read_bytes(), ContentType="application/x-ulog"
        )
        self.sea.cloud.put_object(Bucket="logs", Key=TEXT, Body=b"motor 3\n")
        (self.work / "app.log").write_text("motor 3 ran hot\n")
        (self.work / "report.pdf").write_bytes(b"%PDF-1.7\n" * 20_000)
        with self.console.outbox():
            pass

    def text_of(self, block: Block) -> str:
        given = {
            "token_url": self.console.env["PETAL_S3_SESSION_TOKEN_URL"],
            "bin": self.shell.bin,
            "work": self.work,
            "state": self.console.state,
        }
        text = block.text
        for there, here in STANDS_FOR.items():
            text = text.replace(there, here.format(**given))
        # A KEY that is a word of its own, and a new one.
        text = re.sub(r"(?<![$\w])KEY\b", KEY, text)
        return re.sub(r"(?<![$\w])NEW\b", f"{HOME}new.ulg", text)

    @property
    def env(self) -> dict[str, str]:
        given = {**os.environ, **self.console.env, "HOME": str(self.work)}
        log = self.console.logs / "2025-07-27" / "14_30_22_flight.ulg"
        return {
            **given,
            "api": "http://127.0.0.1:8077",
            "KEY": KEY,
            "FILE": str(log),
            "PART_SIZE": "5242880",
            "SUDO_USER": "",
        }

    # -- the commands that this process answers

    def petal_s3(self, words: list[str], env: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
        self.said.append(" ".join(words))
        if words[0] == "serve" and "--install-systemd" not in words:
            return self._serve(env)
        with contextlib.chdir(cwd) if hasattr(contextlib, "chdir") else _chdir(cwd):
            left = dict.fromkeys(set(os.environ) - set(env))
            result = CliRunner().invoke(command_line.app, words, env={**left, **env})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def _serve(self, env: Mapping[str, str]) -> tuple[int, str, str]:
        """It would serve until Ctrl-C; here it is asked once, with its token."""
        with self.serving(env) as port:
            assert env["PETAL_S3_API_HOST"] == "0.0.0.0"
            assert len(env["PETAL_S3_API_TOKEN"]) == 64
        return 0, f"http://0.0.0.0:{port}/\n", ""

    def pip(self, words: list[str], _: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
        """pip: it builds a wheel (tests/install really does), and installs what is there."""
        self.said.append(" ".join(words))
        if words[:2] == ["-m", "venv"]:
            return 0, "", ""
        assert words[:2] == ["-m", "pip"]
        if words[2] == "wheel":
            name = f"petal_s3-{petal_s3.__version__}-py3-none-any.whl"
            (cwd / "dist").mkdir()
            (cwd / "dist" / name).touch()
            return 0, "", ""
        assert words[2] == "install"
        wheel, _, extra = words[3].partition("[")
        return int(not (cwd / wheel).is_file() or extra not in {"host]", "mavlink,fast]"}), "", ""

    def systemd(self, words: list[str], _: Mapping[str, str], __: Path) -> tuple[int, str, str]:
        """systemctl and systemd-sysusers: the unit that they are about is there."""
        known = {"daemon-reload", "enable", "--now", "petal-s3"}
        unit = self.root / "etc/systemd/system/petal-s3.service"
        return int(not set(words) <= known or not unit.is_file()), "", ""

    def aws(self, words: list[str], env: Mapping[str, str], _: Path) -> tuple[int, str, str]:
        """``aws s3api``: the operation and options are those of S3's own model."""
        assert words[0] == "s3api"
        options = dict(zip(words[2::2], words[3::2], strict=True))
        model = self.sea.cloud.meta.service_model.operation_model("HeadObject")
        names = {f"--{xform_name(one, '-')}": one for one in model.input_shape.members}
        assert words[1] == xform_name(model.name, "-")
        head = self.sea.cloud.head_object(**{names[one]: value for one, value in options.items()})
        return 0, json.dumps(head, default=str), ""

    # -- what runs beside it

    @contextlib.contextmanager
    def serving(self, env: Mapping[str, str]) -> Iterator[int]:
        """The stand-alone server, on a free port; curl finds it at the documented address."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in env.items():
                if name.startswith("PETAL_"):
                    patch.setenv(name, value)
            settings = load_settings()
        service = local_service(settings)
        server = Server(service, host=settings.api_host, port=0, token=settings.api_token)
        thread = LoopThread("documented")
        try:
            thread.run(server.start())
            thread.run(service.start())
            self.shell.curl(server.port)
            yield server.port
        finally:
            service.stopping = True
            thread.run(server.stop())
            thread.run(service.stop())
            thread.close()


@contextlib.contextmanager
def _chdir(cwd: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(cwd)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def reader(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Reader]:
    etc = tmp_path / "etc-petal-s3.yaml"
    monkeypatch.setattr(settings_yaml, "CONFIG_FILE", etc)
    root = make_root(tmp_path / "root", petals={}, startup=[])
    monkeypatch.setattr(host_files, "find_root", lambda _: root)
    monkeypatch.setattr(installed, "root", lambda: root)
    console.env |= {"AWS_EC2_METADATA_DISABLED": "true", "PETAL_S3_CONFIG": ""}
    for tool in ("bash", "curl", "jq", "openssl", "sqlite3", "split", "xxd"):
        if shutil.which(tool) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is not installed")
    shell = Shell(tmp_path)
    made = Reader(console, sea, shell, etc)
    made.prepare()
    shell.script("sudo", SUDO)
    monkeypatch.setattr(serve_command, "ROOT", made.root)
    own = "opt/petal-s3/bin"
    shell.add(made.petal_s3, "petal-s3", "opt/petal/venv/bin/petal-s3", f"{own}/petal-s3")
    shell.add(made.pip, "python3", "opt/petal/venv/bin/python", f"{own}/python")
    shell.add(made.systemd, "systemctl", "systemd-sysusers")
    shell.add(made.aws, "aws")
    yield made
    shell.close()


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "petal-s3 get flight_logs/drone-001/none.ulg",
        "petal-s3 no-such-command",
        'curl "$api/no-such-path"',
        "no-such-command | cat",
        "sudo petal-s3 --version",  # sudo has another PATH
        "sudo sh -c 'test -n \"$PETAL_S3_MACHINE_ID\"'",  # and drops variables
        "python3 -m pip install dist/not-built.whl[host]",
        'aws s3api head-object --bucket logs --key "$KEY" --no-such-option x',
    ],
)
def test_a_block_that_does_not_work_is_seen(reader: Reader, text: str) -> None:
    with reader.serving(reader.env):
        try:
            code, _ = reader.shell.run(text, reader.env, reader.work)
        except KeyError:
            code = 2  # the played aws does not know the option
    assert code != 0


@pytest.mark.parametrize("block", SHELL, ids=lambda one: one.name)
def test_a_block_of_commands_does_what_it_says(
    reader: Reader, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "robot")  # the blocks are about it
    text, env = reader.text_of(block), reader.env
    with contextlib.ExitStack() as stack:
        if "curl" in text:
            if "robot:8077" in text:
                env |= {"PETAL_S3_API_HOST": "0.0.0.0", "PETAL_S3_API_TOKEN": TOKEN}
            stack.enter_context(reader.serving(env))

        code, said = reader.shell.run(text, env, reader.work)

    assert code == 0, said
    assert "Traceback" not in said


def test_the_install_block_leaves_what_it_promises(reader: Reader) -> None:
    (block,) = [one for one in SHELL if "host install" in one.text]

    code, said = reader.shell.run(reader.text_of(block), reader.env, reader.work)

    assert code == 0, said
    written = yaml.safe_load(reader.etc.read_text())
    assert written["bucket_name"] == "logs"
    assert written["session_token_url"] == reader.console.env["PETAL_S3_SESSION_TOKEN_URL"]
    assert "petal-s3" in (reader.console.directory / "root" / "proxies.yaml").read_text()


# -- Python, YAML, JSON


class Petal:
    def __init__(self, proxy: S3BucketProxy) -> None:
        self._proxies = {"bucket": proxy}


@pytest.mark.parametrize("block", PYTHON, ids=lambda one: one.name)
def test_a_block_of_python_runs(
    reader: Reader, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in reader.console.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(reader.work)
    code = compile(reader.text_of(block), block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if "await" not in block.text and "async" not in block.text:
        exec(code, {"__name__": "documented"})
        if tools.process_client.held is not None:
            tools.process_client.held[1].close()
            tools.process_client.forget()
        return

    async def whole() -> None:
        proxy = S3BucketProxy(service=local_service(load_settings()))
        await proxy.service.start(watch=False)
        try:
            handed_over = f"{HOME}tmp/flight-42/1_report.pdf"
            reader.sea.cloud.put_object(Bucket="logs", Key=handed_over, Body=b"x" * 1000)
            given = {
                "self": Petal(proxy),
                "bucket": proxy,
                "path": reader.work / "flight.ulg",
                "key": f"{HOME}mine.ulg",
                "s3_key": handed_over,
            }
            work: Any = eval(code, given)
            if work is not None:
                await work
        finally:
            await proxy.stop()
            await proxy.service.stop()

    asyncio.run(whole())


DATA = [one for one in ALL if one.language in {"yaml", "json"}]


@pytest.mark.parametrize("block", DATA, ids=lambda one: one.name)
def test_a_block_of_data_is_accepted(block: Block) -> None:
    found = yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text)
    if "bucket_name" in found:  # a settings file
        assert check_settings({"machine_id": MACHINE, **found}).bucket_name == found["bucket_name"]
