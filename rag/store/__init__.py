"""Documents, chunks and vectors on disk. Only door to lancedb and pyarrow."""
