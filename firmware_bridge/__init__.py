"""Devices: bytes in from a front-end, bytes out to a hand, and the safety gate between them."""
