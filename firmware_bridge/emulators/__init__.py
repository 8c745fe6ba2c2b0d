"""The other end of a front-end's link, for tests and for work without the hardware: real ports, real bytes."""
