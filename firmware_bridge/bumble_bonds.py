"""Where the keys of bonded peers are kept: a JSON file that only its owner may read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bumble.hci import Address
from bumble.keys import JsonKeyStore

from firmware_bridge.errors import NervehandError


class Bonds(JsonKeyStore):
    """Bumble's own format, by the address that this side had when it bonded: a bonded peer knows it by that one.

    NervehandError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            known = json.loads(path.read_text()) if path.exists() else {}
            self.own_address = Address(next(iter(known), str(Address.generate_static_address())))
        except (OSError, ValueError, TypeError) as error:
            raise NervehandError(
                f"the bonds in {path} cannot be read: {error}: move the file away"
            ) from error
        super().__init__(str(self.own_address), str(path))

    async def save(self, db: dict[str, dict[str, dict[str, object]]]) -> None:
        """All of it or nothing, readable by nobody else."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._path.with_name(self._path.name + ".new")
        new.unlink(missing_ok=True)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, json.dumps(db, sort_keys=True, indent=2).encode())
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(self._path)
