"""Let ``python -m petal_s3`` be the command ``petal-s3``."""

from petal_s3.cli.entry import main

main()
