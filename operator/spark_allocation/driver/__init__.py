"""For PySpark applications: what runs inside the driver, and needs nothing but PySpark.

from spark_allocation.driver import report_streaming_progress

report_streaming_progress(spark)
"""

from spark_allocation.driver.streaming_progress import report_streaming_progress

__all__ = ["report_streaming_progress"]
