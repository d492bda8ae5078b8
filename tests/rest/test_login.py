"""A browser gets a cookie for the token, once; with it the page may do what the token allows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from apis import Answer, Api, in_host, log, standing

from petal_s3.demo.services import EmbeddedS3
from petal_s3.web import session

TOKEN = "a-token-of-forty-characters-or-so-0123456"
OTHER = "b-token-of-forty-characters-or-so-0123456"


@pytest.fixture(scope="module", params=["stand-alone", "host"])
def api(
    request: pytest.FixtureRequest, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """A server that asks for a token, asked without one."""
    directory = tmp_path_factory.mktemp("login")
    if request.param == "host":
        pytest.importorskip("petal_app_manager")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with in_host(_s3_server, directory, headers=headers, PETAL_S3_API_TOKEN=TOKEN) as made:
            made.headers = {}
            yield made
    else:
        with standing(_s3_server, directory, token=TOKEN) as stand:
            yield stand.api


def own(api: Api) -> dict[str, str]:
    """What a browser says of the server's own page."""
    return {"Origin": "http://{}:{}".format(*api.address)}


def cookie_of(answer: Answer) -> str:
    """What a browser sends back."""
    return answer.headers["set-cookie"].partition(";")[0]


def name_at(api: Api) -> str:
    """What the cookie of this server is called."""
    return session.name_at("{}:{}".format(*api.address))


def login(api: Api, token: str = TOKEN) -> Answer:
    return api.ask("POST", "/login", body={"token": token}, headers=own(api))


def test_the_token_is_said_once_and_never_kept(api: Api) -> None:
    told = login(api)
    assert (told.status, told.body) == (204, b"")
    said = told.headers["set-cookie"]
    name, *rest = (part.strip() for part in said.split(";"))
    assert name.startswith(f"petal_s3_session_{api.address[1]}=")
    assert TOKEN not in said
    assert {"HttpOnly", "SameSite=Strict", f"Max-Age={session.LASTS_S}"} <= set(rest)
    assert "Secure" not in rest
    assert not [part for part in rest if part.lower().startswith(("path", "domain"))]


@pytest.mark.threat("wifi", "they ask with the cookie of a login", "as with the token")
def test_a_cookie_reads_and_changes(api: Api) -> None:
    cookie = {"Cookie": f"other=1; {cookie_of(login(api))}; more=2"}
    assert api.ask("GET", "/status", headers=cookie).status == 200
    for method, path in (("POST", "/landed"), ("POST", "/outbox/dismiss")):
        body = {"state": "dead"} if path.endswith("dismiss") else {}
        told = api.ask(method, path, body=body, headers={**cookie, **own(api)})
        assert told.status == 200, told
    with_file = api.plain(
        "GET", "/bucket/list", headers={**cookie, "Sec-Fetch-Site": "same-origin"}
    )
    assert with_file.status == 200


@pytest.mark.guarantee(
    "attack",
    "a page of another port of the robot uses the cookie, which browsers send to every port",
    "403 for what it asks, and for a change of which no browser says where it comes from",
)
@pytest.mark.threat(
    "page",
    "it is served by another port of the robot, to which a browser sends the cookie, too",
    "403 for what it asks, and for a change of which no browser says where it comes from",
)
def test_another_port_of_the_robot_may_not_use_the_cookie(api: Api) -> None:
    cookie = {"Cookie": cookie_of(login(api))}
    host = api.address[0]
    for foreign in (
        {"Origin": f"http://{host}:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": f"https://{host}:{api.address[1]}"},
    ):
        for method, path in (("GET", "/status"), ("POST", "/landed"), ("DELETE", "/outbox/1")):
            told = api.plain(method, path, body={}, headers={**cookie, **foreign})
            assert (told.status, told.code) == (403, "foreign_page"), (method, foreign)
    for method, path in (("POST", "/landed"), ("DELETE", "/outbox/1"), ("POST", "/outbox/1/pin")):
        told = api.plain(method, path, body={}, headers=cookie)
        assert (told.status, told.code) == (403, "foreign_page")


def test_without_a_login_nothing_is_told(api: Api) -> None:
    value = cookie_of(login(api)).partition("=")[2]
    ends, _, signed = value.partition(".")
    over = session.value_of(TOKEN, time.time() - session.LASTS_S - 5)
    by_a_later_clock = session.value_of(TOKEN, time.time() + 86_400)
    for made in (
        "",
        "x",
        ".",
        f"{int(ends) + 1}.{signed}",
        f"{ends}.{signed[:-1]}",
        f"{ends}.",
        session.value_of(OTHER, time.time()),
        over,
        by_a_later_clock,
        TOKEN,
        f"{ends}.\xff",
        f"{'9' * 5000}.{signed}",
    ):
        told = api.plain("GET", "/status", headers={"Cookie": f"{name_at(api)}={made}"})
        assert (told.status, told.code) == (401, "no_token"), made
        assert TOKEN not in told.body.decode()


def test_a_wrong_token_gets_no_cookie(api: Api) -> None:
    for wrong in (OTHER, "", TOKEN[:-1], f"{TOKEN} "):
        told = login(api, wrong)
        assert (told.status, told.code) == (401, "no_token")
        assert "set-cookie" not in told.headers


def test_a_login_that_is_no_json_is_refused(api: Api) -> None:
    form = {**own(api), "Content-Type": "text/plain"}
    told = api.plain("POST", "/login", body=b'{"token": "x"}', headers=form)
    assert told.status == 400


def test_a_logout_has_the_browser_forget(api: Api) -> None:
    told = api.ask("POST", "/logout", body={}, headers=own(api))
    assert told.status == 204
    assert re.match(r"petal_s3_session_\d+=; Max-Age=0;", told.headers["set-cookie"])


def test_two_servers_of_one_robot_leave_each_other_their_logins(
    _s3_server: EmbeddedS3, tmp_path
) -> None:
    """A browser keeps its cookies by the name of the host alone, whatever the port."""
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
    with (
        standing(_s3_server, tmp_path / "one", token=TOKEN) as one,
        standing(_s3_server, tmp_path / "two", token=OTHER) as two,
    ):
        kept: dict[str, str] = {}
        for stand, token in ((one, TOKEN), (two, OTHER)):
            name, _, value = cookie_of(login(stand.api, token)).partition("=")
            kept[name] = value
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
        for stand in (one, two):
            # None of them is a wrong token of the other either: that would be slowed down.
            codes = [stand.api.plain("GET", "/status", headers=cookie).status for _ in range(40)]
            assert codes == [200] * 40


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("robot.lan", "petal_s3_session"),
        ("robot.lan:8077", "petal_s3_session_8077"),
        ("[fd00::7]", "petal_s3_session"),
        ("[fd00::7]:8077", "petal_s3_session_8077"),
        ("10.0.0.7:80;x=y", "petal_s3_session"),
        ("8077", "petal_s3_session"),
    ],
)
def test_the_cookie_is_named_by_the_port_that_was_asked(host: str, name: str) -> None:
    assert session.name_at(host) == name


def test_a_bearer_token_that_comes_is_what_counts(api: Api) -> None:
    cookie = {"Cookie": cookie_of(login(api))}
    for wrong in ("Bearer wrong", f"Bearer {OTHER}"):
        told = api.plain("GET", "/status", headers={**cookie, "Authorization": wrong})
        assert told.status == 401


@pytest.mark.threat(
    "wifi",
    "they guess tokens at the login, or by cookies that they make of guesses",
    "as for tokens: after 30 wrong ones of an address, one in two seconds is looked at",
)
@pytest.mark.parametrize("way", ["login", "cookie"])
def test_guessing_is_slowed_down(_s3_server: EmbeddedS3, tmp_path, way: str) -> None:
    with standing(_s3_server, tmp_path, token=TOKEN) as stand:
        api, codes = stand.api, []
        for number in range(35):
            if way == "login":
                body = {"token": f"guess-number-{number}"}
                told = api.plain("POST", "/login", body=body, headers=own(api))
            else:
                value = session.value_of(f"guess-number-{number}", time.time())
                told = api.plain("GET", "/status", headers={"Cookie": f"{name_at(api)}={value}"})
            codes.append(told.status)
        assert codes[:30] == [401] * 30
        assert codes[-1] == 429


def test_an_old_cookie_is_no_guess(_s3_server: EmbeddedS3, tmp_path) -> None:
    over = session.value_of(TOKEN, time.time() - session.LASTS_S - 5)
    with standing(_s3_server, tmp_path, token=TOKEN) as stand:
        api = stand.api
        for _ in range(40):
            told = api.plain("GET", "/status", headers={"Cookie": f"{name_at(api)}={over}"})
            assert told.status == 401
        assert login(api).status == 204, "who comes back after a month may say the token"


def test_behind_a_proxy_with_tls_the_cookie_travels_by_tls_alone(
    _s3_server: EmbeddedS3, tmp_path
) -> None:
    robot = "https://robot.example"
    with standing(_s3_server, tmp_path, token=TOKEN, api_origins=robot) as stand:
        api = stand.api
        headers = {"Origin": robot, "Host": "robot.example"}
        told = api.plain("POST", "/login", body={"token": TOKEN}, headers=headers)
        assert told.status == 204
        assert "Secure" in told.headers["set-cookie"].split("; ")
        cookie = {"Cookie": cookie_of(told)}
        changed = api.plain("POST", "/landed", body={}, headers={**headers, **cookie})
        assert changed.status == 200


def test_where_no_token_is_set_there_is_nothing_to_log_in_to(
    _s3_server: EmbeddedS3, tmp_path
) -> None:
    with standing(_s3_server, tmp_path) as stand:
        told = login(stand.api, "anything")
        assert told.status == 204
        assert "set-cookie" not in told.headers


def test_a_read_only_server_lets_in_and_changes_nothing(_s3_server: EmbeddedS3, tmp_path) -> None:
    with standing(_s3_server, tmp_path, token=TOKEN, rest_read_only=True) as stand:
        api = stand.api
        told = login(api)
        assert told.status == 204
        headers = {"Cookie": cookie_of(told), **own(api)}
        assert api.ask("GET", "/status", headers=headers).json["read_only"] is True
        refused = api.plain("POST", "/landed", body={}, headers=headers)
        assert (refused.status, refused.code) == (403, "read_only")


def test_a_log_is_sent_by_the_page(api: Api) -> None:
    from apis import FORM, form, part

    headers = {"Cookie": cookie_of(login(api)), **own(api), "Content-Type": FORM}
    body = form(part("file", log(), "dropped.ulg"))
    told = api.ask("POST", "/bucket/upload", body=body, headers=headers, wait="false")
    assert told.status == 202
