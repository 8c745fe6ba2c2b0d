"""Archives as an attacker makes them: faultless to a ZIP reader, with the checksum that fits."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Iterable


def sealed(data: bytes) -> bytes:
    """The file with the checksum made to fit, as anybody can."""
    body = data[:-64]
    return body + hashlib.sha256(body + b"0" * 64).hexdigest().encode()


def zipped(
    members: Iterable[tuple[str, bytes]], change: Callable[[zipfile.ZipInfo], object] = lambda info: None
) -> bytes:
    """What Python's own writer makes of these members in this order, sealed."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for name, content in members:
            info = zipfile.ZipInfo(name)
            change(info)
            archive.writestr(info, content)
        archive.comment = b"nervehand-bundle-sha256:" + b"0" * 64
    return sealed(buffer.getvalue())
