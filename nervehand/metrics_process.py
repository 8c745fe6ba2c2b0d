"""Metrics for Prometheus, as a process of its own that only reads the status document:

    python -m nervehand.metrics_process --status FILE --listen 127.0.0.1:9464 [--parent PID]

With `--parent` it ends when the process that started it, which has that number, has gone; always by SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from firmware_bridge.errors import NervehandError

NICENESS = 10
"""Decoding comes first, where both want a processor."""
PARENT_S = 1.0

logger = logging.getLogger("nervehand.metrics_process")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is told to end; exit status 2 and one line where it cannot."""
    from nervehand.logs import configure_logs

    parser = argparse.ArgumentParser(prog="python -m nervehand.metrics_process", description=__doc__)
    parser.add_argument("--status", type=Path, required=True, help="The status document of a daemon.")
    parser.add_argument("--listen", required=True, help="HOST:PORT on the loopback; port 0 is any free one.")
    parser.add_argument("--parent", type=int, default=0, help="Ends with this process.")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    given = parser.parse_args(arguments)
    configure_logs(given.log_format, given.log_level, "metrics")
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    try:
        asyncio.run(_serve(given.status, given.listen, given.parent))
    except NervehandError as error:
        print(f"nervehand metrics: {error}", file=sys.stderr)
        return 2
    return 0


async def _serve(status: Path, listen: str, parent: int) -> None:
    from firmware_bridge.port.addresses import joined
    from nervehand.metrics import text_of
    from nervehand.metrics_server import MetricsServer, listener_at

    listener = listener_at(listen)
    host, number = listener.getsockname()[:2]
    logger.info("metrics at http://%s/metrics", joined(host, number))
    serving = asyncio.ensure_future(MetricsServer(partial(text_of, status)).serve(listener))
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, serving.cancel)
    watching = asyncio.ensure_future(_until_orphaned(parent)) if parent else None
    if watching is not None:
        watching.add_done_callback(lambda _: serving.cancel())
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_S)


if __name__ == "__main__":
    sys.exit(main())
