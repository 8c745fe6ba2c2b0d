"""The console's process: its pages, served to browsers of this machine, or of others with a password."""

from __future__ import annotations

import secrets
import socket
from functools import partial
from pathlib import Path

from nicegui import app, ui

from firmware_bridge.errors import NervehandError
from nervehand.console.access import Access
from nervehand.console.addresses import is_loopback
from nervehand.console.app import Console
from nervehand.console.calibrate_page import add_calibrate_page
from nervehand.console.decoders_page import add_decoders_page
from nervehand.console.device_page import add_device_page
from nervehand.console.files import serve_files
from nervehand.console.live_page import add_live_page
from nervehand.console.sessions_page import add_sessions_page
from nervehand.console.texts import say
from nervehand.console.watch import Watch, at

HISTORY = 200
"""Messages kept for a browser whose connection breaks; with more missed than that its page is loaded anew."""
RECONNECT_S = 10.0


def serve(
    host: str,
    port: int,
    folder: Path,
    password: str,
    *,
    is_opened: bool,
    engine: str = "",
    watch: Watch | None = None,
    steps: int | None = None,
) -> None:
    """Serve until the process is ended. `password` "" asks for none; `engine` "" watches what runs on this machine;
    `steps` of training in calibrations that begin here, None as many as the data ask for."""
    require_free(host, port)
    chosen = watch or (Watch(partial(at, engine)) if engine else Watch())
    folder = folder.resolve()
    console = Console(chosen, folder, steps=steps)
    for add in (add_live_page, add_calibrate_page, add_sessions_page, add_decoders_page, add_device_page):
        add(console)
    serve_files(folder)
    app.on_startup(console.watch.start)
    app.on_shutdown(console.close)
    app.add_middleware(Access, hosts=(host, "127.0.0.1", "localhost", "::1"), password=password)
    ui.run(
        host=host,
        port=port,
        title=say("brand"),
        reload=False,
        show=is_opened,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=RECONNECT_S,
        message_history_length=HISTORY,
        storage_secret=secrets.token_hex(32),
        uvicorn_logging_level="warning",
        ws_per_message_deflate=not is_loopback(
            host
        ),  # what never leaves the machine is not worth the processor's time
    )


def require_free(host: str, port: int) -> None:
    """NervehandError where something serves there already, or the address is not this machine's."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise NervehandError(
            f"{host}:{port} cannot be served ({error.strerror}): give another --port-number or --host"
        ) from None
