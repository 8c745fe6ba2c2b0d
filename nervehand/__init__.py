"""nervehand: a real-time decoder for prosthetic hands."""

__version__ = "0.1.0"
