"""Documents, chunks and vectors on disk. Only door to lancedb and pyarrow."""

import os

# Lance warns on stderr about each table that it creates; it reads this once, when whichever file here imports it first.
os.environ.setdefault("LANCEDB_LOG", "error")
