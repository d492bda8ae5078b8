"""Set up, check and compare a bucket; imports ``service`` and below."""
