"""Give a browser a cookie in place of the token, which no browser sends by itself; take it back."""

from __future__ import annotations

from petal_s3.service.service import Service
from petal_s3.web import requests as asks
from petal_s3.web import session
from petal_s3.web.routing import Call, Reply, Route


async def post_login(_: Service, ask: asks.LoginBody, call: Call) -> Reply:
    """A cookie that stands for the token until it ends; none where no token is set."""
    value = call.guard.login(ask.token, call.peer)
    return Reply(b"", status=204) if value is None else _with_cookie(value, call)


async def post_logout(_: Service, __: asks.Nothing, call: Call) -> Reply:
    """Have the browser forget its cookie."""
    return _with_cookie("", call)


def _with_cookie(value: str, call: Call) -> Reply:
    # A proxy that ends TLS is seen by the page's own address alone.
    secure = "https" in {call.scheme, call.headers.get("origin", "").partition(":")[0].lower()}
    cookie = session.cookie(value, call.headers.get("host", ""), secure=secure)
    return Reply(b"", status=204, headers={"Set-Cookie": cookie})


LOGIN_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/login",
        "login",
        "A cookie in place of the token, for a browser",
        post_login,
        ask=asks.LoginBody,
        errors=(400, 408, 413, 503),
        status=204,
        public=True,
    ),
    Route(
        "POST",
        "/logout",
        "logout",
        "Have the browser forget its cookie",
        post_logout,
        errors=(503,),
        status=204,
        public=True,
    ),
)
