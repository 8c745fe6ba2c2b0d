"""Recordings of other labs as sessions: one module per source, each with `read(path) -> Session`."""
