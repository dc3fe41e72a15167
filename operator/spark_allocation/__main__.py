"""``python -m spark_allocation`` is the command ``spark-allocation``."""

from spark_allocation.cli.app import main

main()
