"""The commands that look into the bucket: ls, get, rm, mv, presign."""
