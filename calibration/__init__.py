"""Makes decoders: training sets, networks, training, export, scores and evaluation."""
