"""Two workers of Ray explain a table of pictures. It needs: pip install 'fex-explain[ray]'."""

import numpy as np
import ray

from fex.interop import ExplainBatch

# Here: a table in memory. Yours: ray.data.read_binary_files("s3://bucket/photos", include_paths=True), whose columns
# are "bytes" and "path", or ray.data.read_parquet(...) of whatever columns.
draw = np.random.default_rng(0)
rows = [{"id": number, "image": draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)} for number in range(20)]
ray.init(num_cpus=3, log_to_driver=False)  # a cluster is named here; one processor is left for what reads the table
explained = ray.data.from_items(rows).map_batches(
    ExplainBatch,
    fn_constructor_kwargs={
        "checkpoint": "fex_vit_cifar10",
        "column": "image",
        "keep": ["id"],
        "top_k": 2,
        "threads": 1,  # as many as num_cpus of a worker
    },
    batch_size=8,
    num_cpus=1,  # or num_gpus=1
    compute=ray.data.ActorPoolStrategy(size=2),
)
explained.write_parquet("explained")
for row in ray.data.read_parquet("explained").sort(["id", "rank"]).take(4):
    print(row["id"], row["rank"], row["class"], round(row["probability"], 2), "error:", row["error"])
ray.shutdown()
