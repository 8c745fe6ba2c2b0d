"""Who may see the console: own pages, and with a password others that know it; never a page of another site."""

from __future__ import annotations

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
