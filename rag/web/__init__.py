"""What our servers share: by which names they are asked for, who may, limits, threads, sockets, events."""
