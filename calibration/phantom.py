"""The phantom hand while a calibration runs: the newest decoder on the same blocks, moving nothing but a picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from decoder.bundle import read_bundle
from decoder.chain import DecodeChain, compile_kernels
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo


class Phantom:
    """`load` takes another decoder, in a thread of its own, because the first time that takes seconds; blocks go on
    with the one before until it is ready. A decoder that fails is said, and let go."""

    def __init__(self, info: StreamInfo, say: Callable[[str], None] = lambda text: None) -> None:
        self._info, self._say = info, say
        self._ready: SimpleQueue[tuple[DecodeChain, tuple[str, ...]] | NervehandError] = SimpleQueue()
        self._loading: threading.Thread | None = None
        self._chain: DecodeChain | None = None
        self._gestures: tuple[str, ...] = ()
        self.positions: tuple[float, ...] | None = None
        """Six positions in -1..1; None before the first decoder."""
        self.gesture = ""
        self.confidence = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loading is not None:
            self._loading.join()

    def load(self, path: Path) -> None:
        """The decoder in this file, from one of the next blocks on."""

        def make(before: threading.Thread | None) -> None:
            if before is not None:
                before.join()  # the newest comes last
            try:
                bundle = read_bundle(path)
                bundle.require_stream(self._info)
                compile_kernels(bundle, self._info)
                self._ready.put((DecodeChain(bundle, self._info), bundle.manifest.gestures))
            except NervehandError as error:
                self._ready.put(error)

        self._loading = threading.Thread(target=make, args=(self._loading,), name="phantom", daemon=True)
        self._loading.start()

    def block(self, block: SignalBlock) -> None:
        """Decode a block."""
        while not self._ready.empty():
            taken = self._ready.get()
            if isinstance(taken, NervehandError):
                self._say(f"the phantom hand stays as it was: {taken}")
            else:
                self._chain, self._gestures = taken
        if self._chain is None:
            return
        intents = self._chain.process(block)
        if len(intents):
            self.positions = tuple(float(v) for v in intents.positions[-1])
            self.gesture = self._gestures[int(intents.gesture[-1])]
            self.confidence = float(intents.probability[-1])
