"""What the engine and the service share of HTTP: who is asked for by which name, limits, sockets, events."""
