"""What programs read: one JSON object on standard output."""

from __future__ import annotations

import json


def print_json(values: object) -> None:
    """Print one JSON object; a value that is not finite is a fault of ours and raises ValueError."""
    print(json.dumps(values, indent=1, allow_nan=False))
