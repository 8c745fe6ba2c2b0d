"""Gloves at the other end of the wire, worn by a hand that makes any six positions: bytes as of the real ones."""
