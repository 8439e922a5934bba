"""LanceDB is imported without what no knowledge base needs, and is whole for everyone else."""

import subprocess
import sys
from pathlib import Path

from rag.store.lance import FTS, connect


def _run(code: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def test_what_is_put_off_can_be_used_afterwards(tmp_path: Path) -> None:
    """A search imports none of it; whoever uses LanceDB besides us gets the real classes."""
    table = connect(str(tmp_path)).create_table("t", [{"vector": [1.0, 0.0], "words": "battery"}])
    table.create_index("words", config=FTS())
    _run(
        """
import sys
from rag.store.lance import MatchQuery, connect
table = connect(sys.argv[1]).open_table("t")
assert table.search([1.0, 0.0]).to_list() and table.search(MatchQuery("battery", "words"), query_type="fts").to_list()
assert not {"lancedb.functions", "lancedb.embeddings", "lance_namespace_urllib3_client", "overrides"} & {*sys.modules}

import lancedb, lancedb.functions, lancedb.namespace, lancedb.permutation, lancedb.remote.table
from lancedb.pydantic import LanceModel, Vector
class Row(LanceModel):
    vector: Vector(2)
assert table.search([1.0, 0.0]).to_pydantic(Row)
assert not isinstance(Row, lancedb.UdfDefinition) and callable(lancedb.functions.udf)
assert lancedb.connect_namespace("dir", {"root": sys.argv[1]}).table_names() == ["t"]
""",
        str(tmp_path),
    )


def test_a_version_that_needs_at_once_what_is_put_off_is_imported_whole(tmp_path: Path) -> None:
    """A module from which LanceDB derives classes cannot be put off."""
    _run(
        """
import sys
import rag.store.lance
for name in [name for name in sys.modules if name.startswith("lancedb") and name != "lancedb._lancedb"]:
    del sys.modules[name]
rag.store.lance._import_lancedb(["lancedb.db", "lancedb.functions"])
import lancedb
assert {"lancedb.db", "lancedb.functions"} <= {*sys.modules}
assert lancedb.connect(sys.argv[1]).create_table("t", [{"a": 1}]).count_rows() == 1
""",
        str(tmp_path),
    )
