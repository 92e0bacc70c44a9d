"""Where tiles lie: one contract for a folder, for what fsspec reaches, and for S3 as moto plays it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from consumers.evidence.tile_store import FolderStore, FsspecStore, TileDiffers, TileStore, open_tiles
from ledger.errors import Fenced, LogUnavailable, WrongUsage
from tests.consumers.evidence import s3
from tests.consumers.evidence.acme import ORIGIN, Acme

pytest.importorskip("s3fs", reason="s3fs is not installed")

TILES = {"tile/0/000": b"a" * 32, "tile/0/x001/000.p/7": b"b" * 32}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with s3.running() as address:
        yield address


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that nobody has used."""
    if request.param == "folder":
        return str(tmp_path / "tiles")
    name = uuid.uuid4().hex
    return f"memory://{name}" if request.param == "memory" else f"{request.getfixturevalue('bucket')}/{name}"


@pytest.fixture
def opened(place: str) -> Callable[[], TileStore]:
    return lambda: open_tiles(place, ORIGIN)


def test_what_was_written_is_read(opened: Callable[[], TileStore]) -> None:
    """By another that opens the place, too; what was not written is not there."""
    opened().write(TILES)
    assert {path: opened().read(path) for path in TILES} == TILES
    for path in ("tile/0/001", "tile", "checkpoint", "tile/0/000/1"):
        assert opened().read(path) is None


def test_a_tile_is_never_changed(opened: Callable[[], TileStore]) -> None:
    """Equal bytes are written again without harm, beside new ones; others are refused unless they mend."""
    store = opened()
    store.write(TILES)
    store.write({**TILES, "tile/0/001": b"c"})
    with pytest.raises(TileDiffers, match="tile/0/000"):
        store.write({"tile/0/000": b"x" * 32, "tile/0/002": b"d"})
    assert store.read("tile/0/000") == TILES["tile/0/000"]
    store.write({"tile/0/000": b"x" * 32}, mend=True)
    assert store.read("tile/0/000") == b"x" * 32
    store.write({})


def test_a_checkpoint_is_replaced_only_as_it_was_seen(opened: Callable[[], TileStore]) -> None:
    """Whoever saw another, or none, is fenced, and what lies there stays."""
    store, other = opened(), opened()
    store.publish(b"one", None)
    with pytest.raises(Fenced):
        other.publish(b"two", None)
    other.publish(b"two", b"one")
    with pytest.raises(Fenced):
        store.publish(b"three", b"one")
    assert store.read("checkpoint") == b"two"


def test_partial_tiles_are_dropped(opened: Callable[[], TileStore]) -> None:
    """A folder of them at a time; one that is not there is no error."""
    store = opened()
    store.write({"tile/0/000.p/1": b"a", "tile/0/000.p/22": b"b", "tile/0/000": b"c"})
    store.drop(["tile/0/000.p", "tile/0/001.p"])
    assert [store.read(f"tile/0/000{end}") for end in (".p/1", ".p/22", "")] == [None, None, b"c"]


def test_a_ledger_is_signed_there(place: str, tmp_path: Path) -> None:
    """The notary needs no more than this, wherever it is: and its tree is that of the log."""
    acme = Acme(tmp_path)
    acme.tiles = place  # type: ignore[assignment]
    for count in (5, 600):
        acme.append(count)
        acme.checkpoint()
        acme.look_at_all()


def test_s3_itself_refuses_what_came_in_between(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that wrote after the checkpoint was looked at is not written over: neither the first time nor later."""
    name = uuid.uuid4().hex
    store, other = (open_tiles(f"{bucket}/{name}", ORIGIN) for _ in range(2))
    assert isinstance(store, FsspecStore)
    for seen in (None, b"theirs"):

        def looked_at(path: str, seen: bytes | None = seen) -> bytes | None:
            other.publish(b"theirs" if seen is None else b"theirs again", seen)
            return seen

        monkeypatch.setattr(store, "_content", looked_at)
        with pytest.raises(Fenced):
            store.publish(b"ours", seen)
    assert other.read("checkpoint") == b"theirs again"


def test_a_store_without_conditional_writes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that speaks S3 and answers 501 to a condition is asked just before, and keeps the same promises."""
    name = uuid.uuid4().hex
    store = open_tiles(f"{bucket}/{name}", ORIGIN)
    assert isinstance(store, FsspecStore)
    call = store._files._call_s3

    async def without(method: str, *given: object, **named: object) -> object:
        if named.keys() & {"IfMatch", "IfNoneMatch"}:
            error = OSError("not implemented")
            error.__cause__ = ClientError({"ResponseMetadata": {"HTTPStatusCode": 501}}, method)  # type: ignore[typeddict-item]
            raise error
        return await call(method, *given, **named)

    monkeypatch.setattr(store._files, "_call_s3", without)
    store.publish(b"one", None)
    store.publish(b"two", b"one")
    store.write(TILES)
    store.write({**TILES, "tile/0/001": b"c"})
    with pytest.raises(TileDiffers):
        store.write({"tile/0/001": b"d"})
    with pytest.raises(Fenced):
        store.publish(b"three", b"one")
    assert (store.read("checkpoint"), store.read("tile/0/001")) == (b"two", b"c")


def test_an_address_of_a_folder_is_that_folder(tmp_path: Path) -> None:
    """It is synced and locked as any other."""
    store = open_tiles(f"file://{tmp_path}/my%20tiles", ORIGIN)
    assert isinstance(store, FolderStore)
    store.write(TILES)
    assert open_tiles(f"{tmp_path}/my tiles", ORIGIN).read("tile/0/000") == TILES["tile/0/000"]


def test_a_store_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library says of that, it is said in one line, and the job waits it out."""
    store = FsspecStore("memory://away")

    def away(path: str) -> bytes:
        raise RuntimeError("some\n library's\n words")

    monkeypatch.setattr(store._files, "cat_file", away)
    with pytest.raises(LogUnavailable, match="memory://away can't be reached: some library's words"):
        store.read("checkpoint")


@pytest.mark.parametrize("place", ["nosuch://there", "s3+x://a/b"])
def test_a_place_that_nothing_can_reach(place: str) -> None:
    """An address of no known kind is wrong usage."""
    with pytest.raises(WrongUsage, match="Tiles can't lie at"):
        open_tiles(place, ORIGIN)


def test_names_stay_below_their_folder(tmp_path: Path) -> None:
    """Whatever a topic is called, its tiles lie below the place that was given."""
    store = open_tiles(str(tmp_path / "tiles"), "acme/a topic%2F?/0")
    assert isinstance(store, FolderStore)
    store.write({"tile/0/000": b"x"})
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("000")] == [
        "tiles/acme/a%20topic%252F%3F/0/tile/0/000"
    ]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A file where the folder should be is said as a place to set, not as a fault of the program."""
    (tmp_path / "tiles").write_text("")
    with pytest.raises(LogUnavailable, match="PAUSELEDGER_TILES"):
        open_tiles(str(tmp_path / "tiles"), ORIGIN).write({"tile/0/000": b"x"})


@pytest.mark.parametrize("scheme", ["ftp", "http", "s3", "nonsense"])
def test_a_password_in_an_address_is_never_shown(scheme: str) -> None:
    """Neither by us nor out of what a library says, whichever way it fails."""
    with pytest.raises((LogUnavailable, WrongUsage)) as failed:
        open_tiles(f"{scheme}://user:hunt%65r2@127.0.0.1:1/tiles", ORIGIN).read("checkpoint")
    assert "hunt" not in str(failed.value)
    assert f"{scheme}://user@127.0.0.1:1/tiles/" in str(failed.value)
