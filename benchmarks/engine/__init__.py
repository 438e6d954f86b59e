"""The row-batch engine against the stock pipelines, on one mixed trace: `python -m benchmarks.engine`."""
