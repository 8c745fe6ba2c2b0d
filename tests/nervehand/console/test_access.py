"""Who may see the console: own pages, and with a password others that know it; never a page of another site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from nervehand.console import access
from nervehand.console.access import LOGIN, Access

PASSWORD = "correct horse"


async def page(request: object) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def client(password: str = "", host: str = "127.0.0.1:8080") -> TestClient:
    app = Starlette(routes=[Route("/", page), WebSocketRoute("/ws", stream)])
    app.add_middleware(Access, hosts=("127.0.0.1",), password=password)
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_S", 0.0)


def test_this_machine_sees_it_without_a_password() -> None:
    assert client().get("/").text == "the page"
    assert client(host="localhost:8080").get("/").text == "the page"


def test_another_name_that_points_here_is_refused() -> None:
    answer = client(host="evil.example:8080").get("/")
    assert answer.status_code == 403
    assert "evil.example" in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9", "null"])
def test_a_page_of_another_site_reaches_neither_pages_nor_sockets(origin: str) -> None:
    assert client().get("/", headers={"origin": origin}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client().websocket_connect("ws://127.0.0.1:8080/ws", headers={"origin": origin}),
    ):
        pass


def test_its_own_pages_reach_its_sockets() -> None:
    with client().websocket_connect(
        "ws://127.0.0.1:8080/ws", headers={"origin": "http://127.0.0.1:8080"}
    ) as socket:
        assert socket.receive_text() == "hello"


def test_with_a_password_nothing_is_seen_before_it_was_given() -> None:
    visitor = client(PASSWORD, "192.0.2.7:8080")
    answer = visitor.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, LOGIN)
    assert visitor.get("/").status_code == 401
    with pytest.raises(WebSocketDisconnect), visitor.websocket_connect("/ws"):
        pass
    assert 'type="password"' in visitor.get(LOGIN).text


def test_a_wrong_password_opens_nothing_and_the_right_one_all() -> None:
    visitor = client(PASSWORD, "192.0.2.7:8080")
    assert visitor.post(LOGIN, data={"password": "guess"}).status_code == 403
    assert visitor.get("/").status_code == 401
    assert visitor.post(LOGIN, data={"password": PASSWORD}).status_code == 303
    assert visitor.get("/").text == "the page"
    with visitor.websocket_connect("ws://192.0.2.7:8080/ws") as socket:
        assert socket.receive_text() == "hello"


def test_a_ticket_of_another_start_opens_nothing() -> None:
    before, now = client(PASSWORD), client(PASSWORD)
    before.post(LOGIN, data={"password": PASSWORD})
    now.cookies.update(before.cookies)
    assert now.get("/").status_code == 401


def test_a_flood_in_place_of_a_password_is_cut_off() -> None:
    assert client(PASSWORD).post(LOGIN, content=b"x" * 100_000).status_code == 413


def guessing(address: str = "192.0.2.7") -> tuple[Access, Callable[..., httpx.AsyncClient]]:
    app = Access(Starlette(routes=[Route("/", page)]), hosts=(), password=PASSWORD)

    def visitor(of: str = address) -> httpx.AsyncClient:
        way = httpx.ASGITransport(app, client=(of, 1))
        return httpx.AsyncClient(transport=way, base_url="http://192.0.2.1:8080")

    return app, visitor


async def tried(visitor: httpx.AsyncClient, password: str, patience_s: float | None = None) -> int:
    posted = visitor.post(LOGIN, data={"password": password})
    return (await asyncio.wait_for(posted, patience_s)).status_code


def test_after_a_wrong_password_even_the_right_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_S", 3600.0)
    _, visitor = guessing()

    async def guess() -> None:
        async with visitor() as one:
            assert await tried(one, "guess") == 403
            with pytest.raises(TimeoutError):
                await tried(one, PASSWORD, 0.05)

    asyncio.run(guess())


def test_who_leaves_before_the_wait_is_over_has_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_S", 3600.0)
    _, visitor = guessing()

    async def guess() -> list[int | str]:
        async with visitor() as one:
            words = [*(f"guess {i}" for i in range(30)), PASSWORD]
            found = []
            for word in words:
                try:
                    found.append(await tried(one, word, 0.005))
                except TimeoutError:
                    found.append("left")
            return found

    found = asyncio.run(guess())
    assert found.count(403) <= 1
    assert 303 not in found


def test_only_a_few_may_wait_and_nobody_of_another_address_is_locked_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "WRONG_S", 0.05)
    _, visitor = guessing()

    async def guess() -> tuple[list[int], int]:
        async with visitor("192.0.2.7") as many, visitor("192.0.2.8") as one:
            await tried(many, "first")
            guesses = [asyncio.create_task(tried(many, f"guess {i}")) for i in range(100)]
            await asyncio.sleep(0)
            right = await tried(one, PASSWORD)
            return await asyncio.gather(*guesses), right

    found, right = asyncio.run(guess())
    assert right == 303
    assert found.count(403) == access.MOST_WAITING_THERE
    assert found.count(429) == 100 - access.MOST_WAITING_THERE


@pytest.mark.parametrize("name", ["[", "[::1", "]"])
def test_a_host_that_is_none_is_refused(name: str) -> None:
    assert client().get("/", headers={"host": name}).status_code == 403
    assert client().get("/", headers={"origin": f"http://{name}"}).status_code == 403


def test_a_cookie_that_is_no_text_opens_nothing() -> None:
    given = {b"cookie": b'nervehand-console="\xe9"'}
    assert client(PASSWORD).get("/", headers=given).status_code == 401  # type: ignore[arg-type]
