"""The command line; imports everything below it."""
