"""What this machine has in the bucket; imports ``outbox``, ``s3`` and below."""
