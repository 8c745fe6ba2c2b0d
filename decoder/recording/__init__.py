"""The recorder as a process of its own: what a run receives and does, into sessions that follow each other."""
