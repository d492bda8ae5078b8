"""One bucket over HTTP, every answer checked; imports ``core``; the only botocore."""
