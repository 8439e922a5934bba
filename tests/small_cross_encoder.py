"""A cross-encoder of a few bytes in Hugging Face's layout: its mark grows with how many of its words a passage has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_cross_encoder(folder: Path, words: Sequence[str]) -> Path:
    """Write model.onnx and tokenizer.json, and return the folder."""
    folder.mkdir(exist_ok=True)
    vocabulary = {word: n for n, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["pairs", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    worth = np.array([[0.0]] * len(SPECIAL) + [[4.0]] * len(words), np.float32)
    nodes = [
        helper.make_node("Mul", ["attention_mask", "token_type_ids"], ["in_passage"]),
        helper.make_node("Cast", ["in_passage"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["worth", "input_ids"], ["worths"]),
        helper.make_node("Squeeze", ["worths", "last"], ["each"]),
        helper.make_node("Mul", ["each", "weights"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "one"], ["sums"], keepdims=1),
        helper.make_node("Sub", ["sums", "two"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "overlap",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", 1])],
        [
            numpy_helper.from_array(worth, "worth"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array([2], np.float32), "two"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9  # what onnxruntime has read for years
    onnx.save(model, folder / "model.onnx")
    return folder
