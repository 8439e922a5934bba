"""Write a sentence-transformers BERT (safetensors and its tokenizer) as a GGUF file that llama.cpp can run."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORD_START = "\u2581"

# Hugging Face's name -> GGUF's, in a layer and outside of one. The pooler is left out: mean pooling does not use it.
_OUTSIDE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_IN_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# llama.cpp adds these two tables to activations row by row and wants them unquantised.
_KEPT_F32 = ("position_embd.weight", "token_types.weight")


def write_bert_gguf(source: Callable[[str], bytes], target: Path, name: str) -> None:
    """Convert the model whose files `source` returns by name into the GGUF file `target`.

    Reads `config.json`, `tokenizer.json` and `model.safetensors`. Matrices become Q8_0, norms, biases and the position
    and type tables stay F32. The result depends on the input alone, byte for byte.
    """
    import gguf

    config = json.loads(source("config.json"))
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, json.loads(source("tokenizer.json")), config["type_vocab_size"])
    _add_tensors(writer, source("model.safetensors"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, tokenizer: dict[str, Any], token_types: int) -> None:
    import gguf

    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    by_id = sorted(vocabulary.items(), key=lambda item: item[1])
    if [number for _, number in by_id] != list(range(len(by_id))):
        raise ValueError("the tokenizer's ids have gaps; this is not a WordPiece vocabulary that can be converted")
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(token_types)
    writer.add_token_list([wordpiece_for_llama(token) for token, _ in by_id])
    writer.add_token_types([gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for _, i in by_id])
    writer.add_bos_token_id(vocabulary["[CLS]"])
    writer.add_eos_token_id(vocabulary["[SEP]"])
    writer.add_unk_token_id(vocabulary["[UNK]"])
    writer.add_sep_token_id(vocabulary["[SEP]"])
    writer.add_pad_token_id(vocabulary["[PAD]"])
    writer.add_mask_token_id(vocabulary["[MASK]"])


def wordpiece_for_llama(token: str) -> str:
    """Return a WordPiece token as llama.cpp spells it: word starts are marked there, continuations in BERT."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else WORD_START + token


def _add_tensors(writer: Any, safetensors: bytes) -> None:
    import gguf
    import numpy as np

    (header_size,) = struct.unpack_from("<Q", safetensors)
    header = json.loads(safetensors[8 : 8 + header_size])
    for name, entry in header.items():
        target = None if name == "__metadata__" else gguf_tensor_name(name)
        if target is None:
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"tensor {name} is {entry['dtype']}; only F32 safetensors can be converted")
        start, end = entry["data_offsets"]
        data = np.frombuffer(safetensors, dtype="<f4", count=(end - start) // 4, offset=8 + header_size + start)
        matrix = data.reshape(entry["shape"])
        if matrix.ndim == 2 and target not in _KEPT_F32:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(target, gguf.quants.quantize(matrix, kind), raw_dtype=kind)
        else:
            writer.add_tensor(target, np.ascontiguousarray(matrix))


def gguf_tensor_name(name: str) -> str | None:
    """Return GGUF's name for a Hugging Face BERT tensor, or None where llama.cpp has no use for it."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    stem, _, leaf = name.rpartition(".")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.{leaf}"
    if not name.startswith("encoder.layer."):
        return None
    layer, _, part = stem.removeprefix("encoder.layer.").partition(".")
    return f"blk.{layer}.{_IN_LAYER[part]}.{leaf}" if part in _IN_LAYER else None
