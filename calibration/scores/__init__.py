"""Every score, once, as plain functions on arrays over hops; docs/scores.md says how each is computed."""
