"""Let ``python -m petal_s3`` be the command ``petal-s3``."""

from .cli import main

main()
