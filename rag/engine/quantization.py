"""Names of quantizations: read off file names, and ordered by what one would rather have."""

import re
from collections.abc import Iterable

# What LM Studio picks where nobody says, then what is nearest to it: a bit better before a bit worse.
PREFERRED = (
    "Q4_K_M Q4_K_L Q4_K_XL Q4_K_S Q4_K Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4 Q5_K_M Q5_K_L Q5_K_S Q5_K Q5_1 Q5_0 Q6_K Q6_K_L "
    "Q3_K_L Q3_K_M Q3_K_S IQ3_M IQ3_S IQ3_XS IQ3_XXS Q8_0 Q2_K IQ2_M IQ2_S BF16 F16 F32"
).split()

_NAME = re.compile(r"(?i)[-._]((?:UD-)?I?Q\d(?:_[A-Z0-9]+)*|F16|F32|BF16|MXFP4)$")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


def split_name(stem: str) -> tuple[str, str | None]:
    """Return a file's stem without shard number and quantization, and the quantization's name."""
    whole = _SHARD.sub("", stem)
    found = _NAME.search(whole)
    return (whole[: found.start()], found.group(1).upper()) if found else (whole, None)


def shard_of(stem: str) -> tuple[int, int] | None:
    """Return which part of how many a file is, or None where it is whole."""
    shard = _SHARD.search(stem)
    return (int(shard.group(1)), int(shard.group(2))) if shard else None


def unsharded(stem: str) -> str:
    """Return the stem without a shard's number."""
    return _SHARD.sub("", stem)


def is_projector(name: str) -> bool:
    """Whether a file is the vision half of a model, by its name."""
    return "mmproj" in name.casefold()


def rank(quantization: str | None) -> int:
    """Return the place in the order of preference, the best first."""
    plain = (quantization or "").upper().removeprefix("UD-")
    return PREFERRED.index(plain) if plain in PREFERRED else len(PREFERRED)


def best(names: Iterable[str | None]) -> str | None:
    """Return the quantization to take where nobody says which."""
    return min(names, key=lambda name: (rank(name), name or ""))
