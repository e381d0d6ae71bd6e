"""Spark explains a table of texts. It needs Java, and: pip install 'fex-explain[spark]'."""

import os
import sys

from pyspark.sql import SparkSession

from fex.interop import ExplainBatch

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # or workers take the python3 of their own path
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")  # or your cluster
spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "256").getOrCreate()  # rows that a worker holds
reviews = spark.createDataFrame([(1, "a gem of a film"), (2, ""), (3, "what a mess")], "id bigint, text string")
explain = ExplainBatch("fex_minilm_sst2", "text", keep=["id"], threads=1)
rows = reviews.mapInPandas(explain.frames, f"id bigint, {explain.spark_schema}")
rows.write.parquet("explained")
for row in spark.read.parquet("explained").sort("id").collect():
    print(row["id"], row["class"], dict(zip(row["words"] or [], row["scores"] or [], strict=True)), row["error"])
spark.stop()
