"""What a flight log is, by its name and bytes; imports ``core``; knows no S3 and no rows."""
