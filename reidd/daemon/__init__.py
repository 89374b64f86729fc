"""The daemon: a core that owns the gallery and the sockets, and workers that run the network."""
