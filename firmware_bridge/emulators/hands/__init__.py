"""Emulated hands: what is at the other end of a hand's link, as pure devices, and what serves them."""
