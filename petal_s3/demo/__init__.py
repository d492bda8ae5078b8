"""Everything the demo needs, on loopback: a cloud, a link, a host, a flight."""
