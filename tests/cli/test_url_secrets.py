"""A login, a query and a fragment in a URL are secrets: nothing shows them, no file has them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from pathlib import Path

import pytest
from console import Answer, Console, Sea

from petal_s3.admin import way_checks
from petal_s3.core.settings_loading import load_settings
from petal_s3.core.urls import bare, holds_secret, shown

LOGIN, QUERY, FRAGMENT = "c4n4ry-login", "c4n4ry-query", "c4n4ry-fragment"
CANARY = "c4n4ry"


def with_secrets(url: str, path: str = "") -> str:
    where = url.rstrip("/").replace("://", f"://pilot:{LOGIN}@")
    return f"{where}{path}?key={QUERY}#{FRAGMENT}"


@pytest.fixture
def secret_sea(console: Console, sea: Sea) -> Sea:
    """Both URLs of the console hold a login, a query and a fragment."""
    for name in ("PETAL_S3_ENDPOINT_URL", "PETAL_S3_SESSION_TOKEN_URL"):
        console.env[name] = with_secrets(console.env[name])
    return sea


def assert_silent(console: Console, *answers: Answer) -> None:
    assert all(CANARY not in answer.out + answer.err for answer in answers)
    for file in console.directory.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file


COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("check",),
    ("check", "--json"),
    ("drain",),
    ("drain", "--json"),
    ("ls",),
    ("ls", "--json"),
    ("verify", "--all", "--json"),
    ("log", "1", "--json"),
    ("retry", "1"),
    ("bucket", "policy"),
    ("selftest", "--json"),
)


@pytest.mark.guarantee(
    "attack",
    "the URLs of S3 and of the token service hold a login, a query and a fragment",
    "no command prints them and no file of petal-s3 has them, also where nothing can be reached",
)
@pytest.mark.parametrize("link", ["up", "cut"])
@pytest.mark.threat("user")
def test_no_command_shows_a_secret_of_a_url(console: Console, secret_sea: Sea, link: str) -> None:
    answers = [console.type("enqueue", console.write("flight.ulg"))]
    if link == "cut":
        secret_sea.link.cut()
        console.env["PETAL_S3_SESSION_TOKEN_URL"] = with_secrets("http://127.0.0.1:9", "/token")
        console.env["PETAL_S3_REQUEST_TIMEOUT"] = "2"
    patience_s = "3" if link == "cut" else "60"  # it ends when all is up
    for words in COMMANDS:
        patience = ("--patience", patience_s) if words[0] == "drain" else ()
        answers.append(console.type(*words, *patience))
    assert_silent(console, *answers)
    state = console.rows()[0].state
    assert (state == "verified") is (link == "up")  # its login was sent, and nothing was in the way


def test_a_presigned_url_holds_none_of_it(console: Console, secret_sea: Sea) -> None:
    console.write("flight.ulg")
    assert console.type("drain").code == 0
    told = console.type("presign", console.rows()[0].key, "--json")
    assert "X-Amz-Signature" in told.out
    assert_silent(console, told)


def test_a_server_shows_and_logs_none_of_it(console: Console, secret_sea: Sea) -> None:
    from urllib.request import urlopen

    serving = console.start("serve", "--port", "0")
    serving.until_said("http://127.0.0.1:")
    url = "http://127.0.0.1:" + serving.said.split("http://127.0.0.1:")[1].split("/")[0].split()[0]
    console.write("flight.ulg")
    told = ""
    for path in ("/status", "/bucket/info", "/health", "/metrics", "/outbox", "/", "/bucket/list"):
        with urlopen(f"{url}{path}") as answer:
            told += answer.read().decode()
    serving.terminate()
    serving.end()
    assert CANARY not in told + serving.said
    assert_silent(console)


@pytest.mark.parametrize("url", [f"https://t.example/x?key={QUERY}", f"https://t.example/#{QUERY}"])
@pytest.mark.threat(
    "user",
    "host install is given URLs that hold a secret",
    "they are not written into the settings file that all may read",
)
def test_install_writes_no_url_with_a_secret(console: Console, tmp_path: Path, url: str) -> None:
    root, file = tmp_path / "root", tmp_path / "settings.yaml"
    root.mkdir()
    (root / "proxies.yaml").write_text("enabled_proxies: [bucket]\n")
    given = {"PETAL_S3_SESSION_TOKEN_URL": url, "PETAL_S3_CONFIG": str(file)}
    told = console.type("host", "install", "--root", root, **given)
    assert told.code == 0
    assert "PETAL_S3_SESSION_TOKEN_URL holds a secret" in told.out
    asked = console.type(
        "host", "install", "--root", root, "--set", f"ENDPOINT_URL={url}", PETAL_S3_CONFIG=str(file)
    )
    assert "would be a secret" in asked.err
    assert_silent(console, told, asked)


@pytest.mark.threat(
    "user",
    "they read a settings file that holds a secret and is open to all",
    "they can; check says so, with the command that closes it",
)
def test_a_setting_in_a_file_that_others_can_read_is_a_warning(
    console: Console, tmp_path: Path, sea: Sea
) -> None:
    url = with_secrets(console.env.pop("PETAL_S3_SESSION_TOKEN_URL"))
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"session_token_url": url}))
    file.chmod(0o644)

    def told() -> dict[str, object]:
        answer = console.type("check", "--json", PETAL_S3_CONFIG=str(file))
        assert CANARY not in answer.out + answer.err
        [found] = [one for one in answer.json["checks"] if one["check"] == "settings file"]
        return dict(found)

    found = told()
    assert found["state"] == "warning"
    assert "session_token_url" in str(found["found"])
    assert "0644" in str(found["found"])
    assert found["advice"] == f"chmod 600 {file}"
    file.chmod(0o600)
    assert told()["state"] == "ok"


def test_the_host_is_told_no_secret(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    from petal_s3.host.proxy import S3BucketProxy

    for name, value in console.env.items():
        monkeypatch.setenv(name, value)
    proxy = S3BucketProxy(with_secrets("https://tokens.example", "/token"), "logs")
    assert proxy.session_token_url == "https://tokens.example"  # the host's /test/bucket/info
    plain = S3BucketProxy("https://tokens.example/token", "logs")
    assert plain.session_token_url == "https://tokens.example/token"
    for one in (proxy, plain):
        asyncio.run(one.stop())


def test_settings_and_what_is_made_of_them_show_none_of_it(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    from petal_s3.s3.s3_settings import s3_settings

    monkeypatch.setenv("PETAL_S3_BUCKET_NAME", "logs")
    url = with_secrets("https://s3.example", "/base")
    settings = load_settings(endpoint_url=url, session_token_url=url)
    assert CANARY not in repr(settings) + str(settings)
    assert CANARY not in repr(s3_settings(settings, connections=1))


@pytest.mark.parametrize(
    ("url", "secret", "rest", "told"),
    [
        ("https://s3.example", False, "https://s3.example", "https://s3.example"),
        ("https://s3.example:9/a/", False, "https://s3.example:9/a/", "https://s3.example:9/a/"),
        ("https://s3.example/a@b", False, "https://s3.example/a@b", "https://s3.example/a@b"),
        ("https://u@s3.example/a", True, "https://s3.example/a", "https://s3.example"),
        ("https://u:p@[::1]:9/a", True, "https://[::1]:9/a", "https://[::1]:9"),
        ("https://s3.example/a?", True, "https://s3.example/a", "https://s3.example"),
        ("https://s3.example?k=v", True, "https://s3.example", "https://s3.example"),
        ("https://s3.example/a#f", True, "https://s3.example/a", "https://s3.example"),
    ],
)
def test_what_of_a_url_may_be_shown(url: str, *, secret: bool, rest: str, told: str) -> None:
    assert holds_secret(url) is secret
    assert bare(url) == rest
    assert shown(url) == told


# -- how the token service knows this machine


@pytest.mark.threat(
    "stolen",
    "the URL of the token service is read from it, and the service asks for nothing else",
    "it opens the sessions of the whole fleet; check says so while nothing else is asked for",
)
def test_check_says_that_the_url_alone_is_the_key_of_the_fleet(console: Console, sea: Sea) -> None:
    here = checks(console)["token service"]
    away = checks(console, PETAL_S3_SESSION_TOKEN_URL="https://tokens.invalid/")["token service"]
    assert (here["state"], away["state"]) == ("ok", "warning")  # loopback is the key of nothing
    assert "key of the whole fleet; here only this machine" in here["found"]
    assert away["found"].endswith("the key of the whole fleet")
    assert "PETAL_S3_SESSION_TOKEN_FILE" in away["advice"]


@pytest.mark.threat(
    "user",
    "they read the file of the bearer token, which is open to all",
    "they can; check says so, with the command that closes it",
)
def test_check_says_that_others_can_read_the_token(console: Console, sea: Sea) -> None:
    file = console.directory / "bearer"
    file.write_text("b34rer\n")
    file.chmod(0o644)
    given = {"PETAL_S3_SESSION_TOKEN_FILE": str(file)}
    found = checks(console, **given)["token service"]
    assert (found["state"], found["advice"]) == ("warning", f"chmod 600 {file}")
    assert "mode 0644" in found["found"]
    file.chmod(0o600)
    found = checks(console, **given)["token service"]
    assert found["state"] == "ok"
    assert "key of the whole fleet" not in str(checks(console, **given))


@pytest.mark.threat(
    "user",
    "the file of the bearer token has mode 0600 and belongs to them",
    "they can read and change it; check says whose it is",
)
def test_check_says_to_whom_a_secret_file_belongs(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = console.directory / "bearer"
    file.write_text("b34rer\n")
    file.chmod(0o600)
    given = {"PETAL_S3_SESSION_TOKEN_FILE": str(file)}
    me = pwd.getpwuid(os.geteuid()).pw_name
    found = checks(console, **given)["token service"]
    assert (found["state"], f"belongs to {me}" in found["found"]) == ("ok", True)
    console.state.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(file, 65534, -1)
    else:
        monkeypatch.setattr(way_checks, "uploading_user", lambda _: 65534)
    found = checks(console, **given)["token service"]
    owner = pwd.getpwuid(file.stat().st_uid).pw_name
    assert found["state"] == "warning"
    assert f"belongs to {owner}" in found["found"]
    assert "cannot read" not in found["found"]
    assert found["advice"].startswith("chown ")


# -- a URL that the host reads, too


@pytest.mark.threat(
    "user",
    "they read the host's log while the token service is away, whose URL holds a secret",
    "the host writes the URL of its own variable there; check says so, and which to set instead",
)
def test_check_says_that_the_host_logs_the_url_of_its_own_variable(
    console: Console, sea: Sea
) -> None:
    plain = console.env.pop("PETAL_S3_SESSION_TOKEN_URL")
    assert "host's log" not in str(checks(console, PETAL_SESSION_TOKEN_URL=plain))

    answer = console.type("check", "--json", PETAL_SESSION_TOKEN_URL=with_secrets(plain))
    [found] = [one for one in answer.json["checks"] if one["check"] == "the host's log"]
    assert found["state"] == "warning"
    assert "PETAL_S3_SESSION_TOKEN_URL" in found["advice"]
    assert CANARY not in answer.out + answer.err

    ours = {"PETAL_S3_SESSION_TOKEN_URL": plain, "PETAL_SESSION_TOKEN_URL": with_secrets(plain)}
    found = checks(console, **ours)["the host's log"]  # the host still reads its own
    assert "PETAL_SESSION_TOKEN_URL holds a secret" in found["found"]
    alone = checks(console, PETAL_S3_SESSION_TOKEN_URL=with_secrets(plain))
    assert "PETAL_SESSION_TOKEN_URL holds" not in str(alone)


@pytest.mark.threat(
    "path",
    "they read what goes over plain http, or answer in place of S3",
    "they can; check and status say so, with the server's name and without a secret",
)
def test_check_says_that_the_way_is_open(console: Console) -> None:
    given = {
        "PETAL_S3_ENDPOINT_URL": f"http://pilot:{LOGIN}@192.0.2.1:9000",
        "PETAL_S3_SESSION_TOKEN_URL": "http://192.0.2.2/token",
        "PETAL_S3_SESSION_TOKEN_FILE": str(console.directory / "bearer"),
    }
    answer = console.type("check", "--json", **given)
    found = [one["found"] for one in answer.json["checks"] if one["check"] == "plain http"]
    assert "(192.0.2.1:9000)" in found[0]
    assert "(192.0.2.2)" in found[1]
    assert CANARY not in answer.out
    shown = console.type("status", **given).out
    assert "plain http (192.0.2.1:9000)" in shown
    assert "plain http (192.0.2.2)" in shown
    console.type("enqueue", console.write("flight.ulg"))
    assert "plain http (192.0.2.2)" in console.type("status", **given).out
    advice = console.type("status", "--json", **given).json["advice"]
    assert len(advice) == 2


def test_check_says_what_is_set_and_not_used(console: Console, sea: Sea) -> None:
    given = {"PETAL_S3_SESSION_TOKEN_URL": "", "PETAL_S3_SESSION_TOKEN_CERT": "/robot.pem"}
    found = checks(console, **given)["token service"]
    assert "PETAL_S3_SESSION_TOKEN_CERT without PETAL_S3_SESSION_TOKEN_URL" in found["found"]
    found = checks(console, PETAL_S3_TLS_IGNORE_DATES="true")["certificates"]
    assert (found["state"], "they are checked" in found["found"]) == ("ok", True)
    assert "certificates" not in checks(console)


def checks(console: Console, **env: str) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in console.type("check", "--json", **env).json["checks"]}
