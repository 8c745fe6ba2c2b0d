"""Who may see the console: this machine's own pages, and with a password others that know it.

It stands before everything that is served, the pages' sockets included. A page of another site cannot reach it from
this machine's browser: neither under a name that points here (Host), nor by its own scripts (Origin).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import math
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from nervehand.console.texts import say

COOKIE = "nervehand-console"
LOGIN = "/login"
WRONG_S = 1.0
"""After a wrong password none is looked at for so long: a thousand guesses take a quarter of an hour."""
MOST_WAITING, MOST_WAITING_THERE = 8, 2
"""So many passwords wait to be looked at, of all and of one address: who else comes is to try again."""
MOST_FORM = 4096
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")


class Access:
    """ASGI middleware. `password` "" asks for none, and then only `hosts` are names that this server goes by."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], password: str) -> None:
        self._app, self._password = app, password
        self._hosts = frozenset((*hosts, *LOCAL))
        self._ticket = hmac.new(secrets.token_bytes(32), password.encode(), hashlib.sha256).hexdigest()
        self._guesses = asyncio.Lock()
        self._next_s = 0.0
        self._waiting: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(headers)
        if refused is None and (not self._password or self._is_known(headers)):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        response = refused or await self._asked(Request(scope, receive))
        await response(scope, receive, send)

    def _refused(self, headers: dict[str, str]) -> Response | None:
        """Why it is not for this server; None where it is."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # such as "["
            return PlainTextResponse(say("access.host", host=host), 403)
        if not self._password and name not in self._hosts:
            return PlainTextResponse(say("access.host", host=host), 403)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return PlainTextResponse(say("access.origin", origin=origin), 403)
        return None

    def _is_known(self, headers: dict[str, str]) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._ticket.encode())

    async def _asked(self, request: Request) -> Response:
        """The form, or what comes of it."""
        if request.url.path != LOGIN:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse(LOGIN, 303)
            return PlainTextResponse(say("access.needed"), 401)
        if request.method != "POST":
            return _form("")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM:
                return PlainTextResponse(say("access.needed"), 413)
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        where = request.client.host if request.client is not None else ""
        if self._waiting[where] >= MOST_WAITING_THERE or self._waiting.total() >= MOST_WAITING:
            return PlainTextResponse(
                say("access.busy"), 429, headers={"Retry-After": str(math.ceil(WRONG_S * MOST_WAITING))}
            )
        self._waiting[where] += 1
        try:
            is_right = await self._is_right(given)
        finally:
            self._waiting[where] -= 1
            self._waiting += Counter()  # which leaves out addresses of which none waits
        if not is_right:
            return _form(say("access.wrong"), 403)
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, self._ticket, httponly=True, samesite="strict")
        return response

    async def _is_right(self, given: str) -> bool:
        """Whether it is the password; one after the other, from wherever they come.

        The wait comes before the look: who goes away before it is over has learned nothing.
        """
        async with self._guesses:
            await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
            is_right = hmac.compare_digest(given.encode("utf-8", "replace"), self._password.encode())
            if not is_right:
                self._next_s = time.monotonic() + WRONG_S
            return is_right


def _form(said: str, status: int = 200) -> HTMLResponse:
    title, label, enter = (html.escape(say(key)) for key in ("brand", "access.password", "access.enter"))
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>body{font:20px sans-serif;display:grid;place-items:center;min-height:90vh;background:#F4F6F8;"
        "color:#17212B}form{display:grid;gap:16px;width:320px}input,button{font:inherit;padding:12px;"
        "border-radius:8px;border:1px solid #8A97A5}button{background:#0072B2;color:#fff;border:0}</style>"
        f'<form method="post" action="{LOGIN}"><h1>{title}</h1><label for="p">{label}</label>'
        f'<input id="p" name="password" type="password" autocomplete="current-password" autofocus>'
        f'<button>{enter}</button><p role="alert">{html.escape(said)}</p></form></html>',
        status,
    )
