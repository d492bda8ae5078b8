"""What may go, on the disk and in the bucket; imports ``intake`` and below."""
