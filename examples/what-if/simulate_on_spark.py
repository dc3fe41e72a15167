"""`spark-allocation simulate` as a PySpark job, one task a log: for more logs than one machine should read.

    spark-submit --master k8s://… --conf spark.kubernetes.container.image=… --conf spark.executor.instances=50 \\
        simulate_on_spark.py s3a://logs/spark-events --policy frugal.yaml --policy generous.yaml -o json > answer.json

All options and exit codes are those of `spark-allocation simulate`; `simulate_on_spark.py --help` tells them. So is the answer.

Driver and executors need the package with what it reads logs with, and what fsspec needs for the scheme of the URL:

    pip install 'spark-allocation-operator[what-if]' s3fs

On Kubernetes put it into the image. On YARN pack a virtual environment (venv-pack) and add
`--archives environment.tar.gz#environment --conf spark.pyspark.python=environment/bin/python`.
"""

import sys

import typer

from spark_allocation.cli.simulate import simulate

job = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
job.command()(simulate)
job(["--spark", *sys.argv[1:]], prog_name="simulate_on_spark.py")
