"""Python loads this in every process of a daemon under chaos, for its folder is on their path: see tap.py."""

import os

if os.environ.get("NERVEHAND_CHAOS"):
    from tests.chaos.tap import tapped

    tapped(os.environ["NERVEHAND_CHAOS"])
