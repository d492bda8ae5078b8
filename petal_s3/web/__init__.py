"""The HTTP interface, written once, and the stand-alone server; imports ``service`` and below."""
