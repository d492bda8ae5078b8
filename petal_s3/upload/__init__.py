"""From the outbox into the bucket, proven; imports ``cleanup`` and below."""
