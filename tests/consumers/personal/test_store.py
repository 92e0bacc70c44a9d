"""Key stores, in a file and in a real PostgreSQL: one key a data subject, and none once it is destroyed."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.personal.opening import key_store
from consumers.personal.store import KeyStore
from consumers.personal.wrapping import read_store_key
from ledger.errors import LogUnavailable, NotFound, UnusableLog, WrongUsage
from ledger.sealing import KEY_BYTES, PersonalKey
from tests.consumers.personal.stores import OTHER_STORE_KEY, STORE_KEY, settings, store
from tests.ledger.test_publisher_forked import in_a_child
from tests.postgres import Postgres

OpenStore = Callable[..., KeyStore]
MAKERS = 3


@pytest.fixture(params=["file", "wrapped file", "postgres"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same key store again and again; all are closed afterwards."""
    made: list[KeyStore] = []
    keys = request.getfixturevalue("postgres").new_index() if request.param == "postgres" else None
    own = "" if request.param == "file" else STORE_KEY

    def open_one(store_key: str | None = None) -> KeyStore:
        made.append(store(tmp_path, keys, own if store_key is None else store_key))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def test_a_data_subject_has_one_key(opens: OpenStore) -> None:
    """The same from every opener and for every work item; another one's is another."""
    first, second = opens(), opens()
    key = first.key_for("user:anna", "T-1")
    assert len(key.secret) == KEY_BYTES
    for other in (first.key_for("user:anna", "T-2"), second.key_for("user:anna", "T-1"), second.key_named(key.id)):
        assert isinstance(other, PersonalKey)
        assert (other.id, other.secret) == (key.id, key.secret)
    bob = second.key_for("user:bob", "T-1")
    assert bob.id != key.id
    assert bob.secret != key.secret
    assert first.key_named("0" * 32) == "unknown-key"


def test_what_is_destroyed_is_so_everywhere_at_once(opens: OpenStore) -> None:
    """Nobody gets the key again, nor another; who said so first is who said so."""
    first, second = opens(), opens()
    key, bob = first.key_for("user:anna", "T-1"), first.key_for("user:bob", "T-1")
    second.key_for("user:anna", "T-1")
    gone = first.destroy("user:anna", by="role:dpo", reason="asked")
    assert (gone.key_id, gone.by, gone.reason) == (key.id, "role:dpo", "asked")
    for one in (first, second, opens()):
        assert one.key_named(key.id) == "forgotten"
        with pytest.raises(WrongUsage, match="forgotten"):
            one.key_for("user:anna", "T-9")
        assert one.destroy("user:anna", by="role:other", reason="again") == gone
        assert one.key_for("user:bob", "T-1").secret == bob.secret
    assert second.untold(key.id) == ["T-1"]


def test_nobody_can_be_forgotten_who_was_never_known(opens: OpenStore) -> None:
    """A name that was written otherwise is told apart from one that is forgotten."""
    one = opens()
    with pytest.raises(NotFound, match="never had a key"):
        one.destroy("user:nobody", by="role:dpo", reason="asked")
    one.key_for("user:nobody", "T-1")  # the connection lives on


def test_uses_are_kept_until_they_are_told(opens: OpenStore) -> None:
    """Each work item once, those of another log apart."""
    one = opens()
    key = one.key_for("user:anna", "T-2")
    for work_item in ("T-1", "T-2", "T-3\0?%s"):
        one.key_for("user:anna", work_item)
    elsewhere = opens()
    elsewhere._log = "kafka://x:1/other"
    elsewhere.key_for("user:anna", "T-4")
    assert one.untold(key.id) == ["T-1", "T-2", "T-3\0?%s"]
    one.told(key.id, ["T-1", "T-3\0?%s"])
    assert one.untold(key.id) == ["T-2"]
    assert one.elsewhere(key.id) == ["kafka://x:1/other"]
    assert elsewhere.untold(key.id) == ["T-4"]
    assert len(elsewhere.elsewhere(key.id)) == 1


def test_threads_share_a_store(opens: OpenStore) -> None:
    """Eight at once, on two handles: each data subject has one key."""
    handles, found = [opens(), opens()], set()

    def ask(number: int) -> None:
        for turn in range(6):
            key = handles[number % 2].key_for(f"user:{turn}", f"T-{number}")
            found.add((turn, key.id, key.secret))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6


def test_whoever_seals_while_a_key_is_destroyed_has_it_before_or_never(opens: OpenStore) -> None:
    """Once the end is said nobody gets the key any more, on any handle; until then all get the same one."""
    stores = [opens() for _ in range(4)]
    key = stores[0].key_for("user:anna", "T-0")
    said, began = threading.Event(), threading.Barrier(4)
    wrong: list[PersonalKey] = []

    def seal(number: int) -> None:
        began.wait()
        while not wrong:
            was_said = said.is_set()
            try:
                found = stores[number].key_for("user:anna", f"T-{number}")
            except WrongUsage:
                return
            if was_said or found.secret != key.secret:
                wrong.append(found)

    threads = [threading.Thread(target=seal, args=(number,)) for number in range(1, len(stores))]
    for thread in threads:
        thread.start()
    began.wait()
    stores[0].destroy("user:anna", by="role:dpo", reason="asked")
    said.set()
    for thread in threads:
        thread.join()
    assert wrong == []


_MAKE = """
import sys
from pathlib import Path
from tests.consumers.personal.stores import store
opened = store(Path(sys.argv[1]), sys.argv[2] or None, sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
key = opened.key_for("user:anna", "T-1")
print(key.id, key.secret.hex())
"""


@pytest.mark.parametrize("place", ["file", "postgres"])
def test_processes_that_make_the_first_key_at_once_agree(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whoever is first makes the store and the key; all others get that one."""
    keys = request.getfixturevalue("postgres").new_index() if place == "postgres" else ""
    command = [sys.executable, "-c", _MAKE, str(tmp_path), keys, STORE_KEY]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    makers = [subprocess.Popen(command, text=True, **pipes) for _ in range(MAKERS)]  # type: ignore[call-overload]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        maker.stdin.write("\n")
        maker.stdin.flush()
    said = [maker.communicate(timeout=60)[0] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * MAKERS
    assert len(set(said)) == 1


def test_a_wrong_store_key_is_found_when_the_store_is_opened(tmp_path: Path, postgres: Postgres) -> None:
    """Another one, none, or one too many: each is told apart, and nothing of it is quoted."""
    for keys in (None, postgres.new_index()):
        with closing(store(tmp_path, keys, STORE_KEY)) as made:
            made.key_for("user:anna", "T-1")
        with closing(store(tmp_path, keys, OTHER_STORE_KEY)) as wrong:
            with pytest.raises(UnusableLog, match="another store key") as error:
                wrong.key_for("user:anna", "T-1")
            assert OTHER_STORE_KEY not in str(error.value)
    with closing(store(tmp_path)) as bare, pytest.raises(UnusableLog, match="PAUSELEDGER_PERSONAL_STORE_KEY"):
        bare.key_for("user:anna", "T-1")
    (tmp_path / "plain").mkdir()
    with closing(store(tmp_path / "plain")) as plain:
        plain.key_for("user:anna", "T-1")
    with closing(store(tmp_path / "plain", None, STORE_KEY)) as odd, pytest.raises(UnusableLog, match="rewrap"):
        odd.key_for("user:anna", "T-1")


@pytest.mark.parametrize(
    "text", ["x", "AAAA", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(65)).decode()]
)
def test_a_store_key_has_enough_bytes(text: str) -> None:
    """Something that can be guessed is refused, and not quoted."""
    with pytest.raises(WrongUsage, match="32 to 64 bytes") as error:
        read_store_key(text)
    assert f" {text} " not in str(error.value)


def test_rewrapped_the_former_store_key_opens_nothing(opens: OpenStore) -> None:
    """The keys stay what they were; who still has the former store key is stopped, and wraps no new one by it."""
    one, behind, far_behind = opens(), opens(), opens()
    key = one.key_for("user:anna", "T-1")
    behind.key_for("user:bob", "T-1")
    assert far_behind.key_named(key.id)
    assert one.rewrap(read_store_key(OTHER_STORE_KEY)) == 2
    assert one.key_for("user:anna", "T-1").secret == key.secret
    with pytest.raises(UnusableLog):
        behind.key_for("user:carl", "T-1")
    with pytest.raises(UnusableLog):
        behind.key_for("user:anna", "T-1")
    with pytest.raises(UnusableLog):
        far_behind.key_named(key.id)
    again = opens(OTHER_STORE_KEY)
    assert again.key_for("user:anna", "T-1").secret == key.secret
    assert again.key_for("user:carl", "T-1").id


def test_a_store_belongs_to_the_process_that_opened_it(opens: OpenStore) -> None:
    """A forked child is told so at once; its parent goes on."""
    one = opens()
    key = one.key_for("user:anna", "T-1")
    assert "WrongUsage: This key store was opened by another process" in in_a_child(
        lambda: one.key_for("user:anna", "T-1")
    )
    assert in_a_child(one.close) == "nothing"
    assert one.key_for("user:anna", "T-1").secret == key.secret


def test_a_server_that_went_away_is_found_again(own_postgres: Postgres, tmp_path: Path) -> None:
    """While it is away that is what is said; the next call after it came back is answered."""
    with closing(store(tmp_path, own_postgres.new_index(), STORE_KEY)) as one:
        key = one.key_for("user:anna", "T-1")
        own_postgres.kill()
        with pytest.raises(LogUnavailable, match="key store"):
            one.key_for("user:anna", "T-1")
        own_postgres.start()
        assert one.key_for("user:anna", "T-1").secret == key.secret


def test_a_database_of_somebody_else_is_named(postgres: Postgres, tmp_path: Path) -> None:
    """A database that is not there, and one that has no store key, are the settings' fault; no password is shown."""
    with pytest.raises(WrongUsage, match="must be wrapped"):
        store(tmp_path, postgres.new_index())
    empty = key_store(settings(tmp_path, postgres.new_index(), STORE_KEY))
    with closing(empty), pytest.raises(UnusableLog, match="no tables of ours"):
        empty.key_named("0" * 32)
    missing = f"postgresql://postgres:hush@127.0.0.1:{postgres.port}/nothing"
    with closing(store(tmp_path, missing, STORE_KEY)) as one, pytest.raises(UnusableLog, match="refused us") as error:
        one.key_for("user:anna", "T-1")
    assert "hush" not in str(error.value)
