"""From the disk into the outbox: which files are finished logs; imports ``objects`` and below."""
