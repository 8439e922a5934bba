"""Images that a model may be shown: files below the folders that were named for it, and nothing else."""

import base64
from collections.abc import Sequence
from pathlib import Path

import rag.errors as errors
from rag.lmstudio.choice import choose
from rag.lmstudio.client import LMStudio
from rag.service.problems import Refused

MOST_BYTES = 20 << 20
_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


def data_url(given: str, folders: Sequence[Path]) -> str:
    """An image as a `data:` URL. Raises Refused for a place that is not allowed, or a file that is no such image.

    Outside of the folders nothing is told of what is there, not even whether there is anything.
    """
    try:
        path = Path(given).resolve()
        allowed = any(path.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, ValueError, RuntimeError):
        allowed = False
    if not allowed:
        raise Refused(403, "The image is in no folder that `rag serve --images FOLDER` has opened.", "not_allowed")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise errors.SourceNotFound(f"The image {given} cannot be read ({exc.strerror}).") from exc
    kind = next((kind for mark, kind in _KINDS if content.startswith(mark)), "")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "webp"
    if not kind or len(content) > MOST_BYTES:
        what = f"larger than {MOST_BYTES >> 20} MB" if kind else "no PNG, JPEG, GIF or WebP"
        raise Refused(415, f"The image {given} is {what}.")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def vision_model(lm: LMStudio, wanted: str | None) -> str:
    """The key of a model that sees: the wanted one, else one that is loaded, else one that is on disk.

    Raises ModelNotFound where there is none.
    """
    models = lm.models()
    seeing = [model for model in models if model.vision]
    if wanted is not None:
        chosen = choose(models, "llm", wanted)
        if chosen.vision or not seeing:  # a server that does not say what its models see is believed
            return chosen.key
        raise errors.ModelNotFound(f"{chosen.key} sees no images. These do: {', '.join(one.key for one in seeing)}.")
    if not seeing:
        raise errors.ModelNotFound("The server has no model that sees images. Get one, or name one in `model`.")
    return next((model.key for model in seeing if model.instances), seeing[0].key)
