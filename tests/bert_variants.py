"""Variants of an embedding model's file, as a user might come by them: the same name, other vectors."""

from pathlib import Path

import gguf
import numpy as np

FILE_TYPE, POOLING = "general.file_type", "bert.pooling_type"


def with_number(model: bytes, key: str, value: int) -> bytes:
    """The file with another number in its header."""
    at = model.index(key.encode()) + len(key) + 4  # the value's type stands between
    return model[:at] + value.to_bytes(4, "little") + model[at + 4 :]


def with_layers_exchanged(model: bytes) -> bytes:
    """Another model of the same form: the first and the last of its six layers have changed places."""
    return model.replace(b"blk.0.", b"blk.x.").replace(b"blk.5.", b"blk.0.").replace(b"blk.x.", b"blk.5.")


def requantized(source: Path, target: Path) -> None:
    """The model with its Q8_0 matrices as Q4_0."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "bert")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            value = int(gguf.LlamaFileType.MOSTLY_Q4_0) if field.name == FILE_TYPE else field.contents()
            writer.add_key_value(field.name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    kind = gguf.GGMLQuantizationType.Q4_0
    for tensor in reader.tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0:
            matrix = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, gguf.quants.quantize(matrix, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
