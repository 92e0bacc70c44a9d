"""``pauseledger forget``, from end to end: nothing is readable any more, and nothing else has changed."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.personal.forgetting import forget, note_of, refuse_naming
from consumers.personal.sqlite_database import SqliteDatabase
from consumers.personal.store import Destroyed, KeyStore
from consumers.publishing import open_publisher
from ledger.errors import WrongUsage
from ledger.evidence.leaves import leaf_of
from ledger.logs.address import open_log
from ledger.record import record_bytes
from tests.broker import Broker
from tests.consumers.api.conftest import BATCH, STRUCTURED, api, is_problem
from tests.consumers.personal.stores import OTHER_STORE_KEY, STORE_KEY, files_of, store
from tests.faults.command import Result, run
from tests.faults.ledgers import caught_up, dump, records_of, url
from tests.faults.lines import event, line, opened, resume
from tests.ledger.test_publisher_forked import in_a_child
from tests.postgres import Postgres

PLAIN = (b"Anna", b"anna", b"DE4412", b"calls again")
KEYS = {"PAUSELEDGER_PERSONAL_KEYS": "sqlite:///keys.db"}


def marked(name: str, data: dict[str, Any], marking: dict[str, list[str]], **attributes: Any) -> bytes:
    return json.dumps(event(name, data, **attributes) | {"personaldata": json.dumps(marking)}).encode()


def story() -> list[bytes]:
    """A pause whose action has an account number, a note, and Anna's own words, on two work items; and Bob's."""
    action = {"kind": "payment", "name": "refund", "arguments": {"iban": "DE4412", "cents": 500}}
    pause = opened(trigger="Anna calls again", pending_action=action)
    return [
        marked("pause.opened", pause, {"user:anna": ["/trigger", "/pending_action/arguments/iban"]}, id="open-1"),
        marked("note.added", {"text": "Anna asks"}, {"user:anna": ["/text"]}, id="n-1"),
        marked(
            "note.added",
            {"text": "of Anna's", "bob": "Bob"},
            {"user:anna": ["/text"], "user:bob": ["/bob"]},
            id="n-2",
            subject="T-2",
        ),
        line("note.added", {"text": "of nobody"}, id="n-3", subject="T-3"),
    ]


def command(folder: Path, *arguments: str, stdin: Sequence[bytes] = (), env: Mapping[str, str] = {}) -> Result:
    return run(*arguments, folder=folder, env={**KEYS, **env}, stdin=b"\n".join(stdin))


def forgotten(folder: Path, *more: str) -> Result:
    return command(folder, "forget", "user:anna", "--reason", "request 17", "--by", "role:dpo", *more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with the story on it."""
    assert [one["verdict"] for one in command(tmp_path, "publish", "--json", stdin=story()).lines] == ["accepted"] * 4
    return tmp_path


def everything(folder: Path) -> bytes:
    """All bytes of all files but the key store's."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and "keys.db" not in path.name)


def leaves(folder: Path) -> list[bytes]:
    with closing(open_log(url(folder / "pauseledger.db"))) as log:
        return [leaf_of(b"tag", record) for record in records_of(log)]


def rows_of(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of an index that is made anew from the log."""
    (folder / "again.db").unlink(missing_ok=True)
    caught_up(url(folder / "pauseledger.db"), folder / "again.db")
    return dump(folder / "again.db")


def test_without_the_key_all_else_is_as_it_was(folder: Path) -> None:
    """Every row of a rebuilt index, verdicts and packets among them, every leaf and every decision is the same."""
    when = command(folder, "trail", "T-1", "--json").json[-1]["recorded_at"]
    asked = ("decision", "T-1", "--json", "--at", when)
    rows, before, decided = rows_of(folder), leaves(folder), command(folder, *asked).json
    with closing(store(folder)) as one:
        one.destroy("user:anna", by="role:dpo", reason="request 17")
    assert rows_of(folder) == rows
    assert leaves(folder) == before
    assert command(folder, *asked).json == decided
    assert forgotten(folder, "--json").json["notes"] == 2
    assert leaves(folder)[: len(before)] == before
    assert len(leaves(folder)) == len(before) + 2
    assert [row for row in rows_of(folder)["trail"] if row[1] < len(before)] == rows["trail"]
    assert command(folder, *asked).json == decided


def test_forgotten_is_unreadable_and_the_trail_says_why(folder: Path) -> None:
    """Whoever asks to reveal it is told that the key is gone, and by whom; Bob's is there still."""
    trail = command(folder, "trail", "T-1", "--json").json
    revealed = command(folder, "trail", "T-1", "--reveal", "--json").json
    assert revealed[1]["event"]["data"]["text"] == "Anna asks"
    assert [one["state"] for one in revealed[0]["personal"]] == ["revealed"] * 2
    done = forgotten(folder, "--json").json
    assert (done["notes"], done["elsewhere"], done["reason"]) == (2, [], "request 17")
    now = command(folder, "trail", "T-1", "--reveal", "--json").json
    assert [one | {"personal": None} for one in now[:2]] == [one | {"personal": None} for one in trail]
    assert [one["state"] for one in now[0]["personal"]] == ["forgotten"] * 2
    assert (now[2]["event"]["data"]["forgotten"], now[2]["event"]["actor"]) == (done["key"], "role:dpo")
    bob = command(folder, "trail", "T-2", "--reveal", "--json").json[0]
    assert bob["event"]["data"]["bob"] == "Bob"
    assert {one["state"] for one in bob["personal"]} == {"revealed", "forgotten"}


def test_nothing_of_it_is_readable_anywhere_even_before(folder: Path) -> None:
    """Log, index and their write-ahead logs have ciphertext only, and so have trail and packet unless asked."""
    command(folder, "packet", "T-1", "--pause", "p1")
    assert not [word for word in PLAIN if word in everything(folder)]
    assert b"of nobody" in everything(folder)
    said = command(folder, "trail", "T-1").out + command(folder, "packet", "T-1", "--pause", "p1", "--json").out
    assert "Anna" not in said
    assert "sealed:v1:" in said
    packet = command(folder, "packet", "T-1", "--pause", "p1", "--reveal", "--json").json
    assert (packet["trigger"], packet["pending_action"]["arguments"]) == (
        "Anna calls again",
        {"iban": "DE4412", "cents": 500},
    )
    assert "Anna calls again" in command(folder, "packet", "T-1", "--pause", "p1", "--reveal").out
    assert "Anna asks" in command(folder, "trail", "T-1", "--reveal").out
    assert not [word for word in PLAIN if word in everything(folder)]
    forgotten(folder)
    packet = command(folder, "packet", "T-1", "--pause", "p1", "--reveal", "--json").json
    assert packet["trigger"].startswith("sealed:v1:")
    assert [one["state"] for one in packet["personal"]] == ["forgotten"] * 2
    assert "forgotten" in command(folder, "packet", "T-1", "--pause", "p1", "--reveal").out


def test_no_byte_of_the_key_is_left(folder: Path) -> None:
    """The key is found in the store's files before, and not after, by whoever has its bytes."""
    with closing(sqlite3.connect(folder / "keys.db")) as raw:
        secrets = [secret for (secret,) in raw.execute("SELECT secret FROM personal_keys")]
    assert len(secrets) == 2
    assert all(secret in files_of(folder / "keys.db") for secret in secrets)
    forgotten(folder)
    assert sum(secret in files_of(folder / "keys.db") for secret in secrets) == 1


def test_sent_again_it_is_a_duplicate(folder: Path) -> None:
    """Under the same id the same bytes; the same id with another text is told apart; afterwards nothing is sealed."""
    again = command(folder, "publish", "--json", stdin=story()).lines
    assert [one["verdict"] for one in again] == ["duplicate"] * 4
    other = marked("note.added", {"text": "Anna asks twice"}, {"user:anna": ["/text"]}, id="n-1")
    assert command(folder, "publish", "--json", stdin=[other]).lines[0]["code"] == "id-reused"
    forgotten(folder)
    refused = command(folder, "publish", "--json", stdin=[story()[3], *story()])
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "forgotten" in refused.err
    assert "anna" not in refused.err


def test_an_action_that_is_sealed_is_resumed_by_the_digest_that_the_ledger_says(folder: Path) -> None:
    """The digest of the plain action is another one; that of the decision is granted, also after the key's end."""
    assert command(folder, "publish", "--json", stdin=[resume()]).lines[0]["code"] == "action-changed"
    digest = command(folder, "decision", "T-1", "--pause", "p1", "--json").json["action_digest"]
    forgotten(folder)
    data = {"execution": "run-1", "pause": "p1", "action_digest": digest}
    wish = line("resume.requested", data, id="resume-2", actor="user:dana")
    assert command(folder, "publish", "--json", stdin=[wish]).lines[0]["verdict"] == "accepted"


@pytest.mark.parametrize("moment", ["destroyed", "scrubbed", "recorded"])
def test_killed_in_between_it_is_finished_by_the_next_run(folder: Path, moment: str) -> None:
    """Once the key is gone it stays gone, and each work item gets its one note, which says what was said first."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def act() -> None:
        owner, name = {
            "destroyed": (SqliteDatabase, "scrub"),
            "scrubbed": (KeyStore, "untold"),
            "recorded": (KeyStore, "told"),
        }[moment]
        setattr(owner, name, die)
        place = url(folder / "pauseledger.db")
        forget(store(folder), lambda: open_publisher(place), "user:anna", by="role:dpo", reason="request 17")

    assert in_a_child(act) == ""
    done = command(folder, "forget", "user:anna", "--reason", "second", "--by", "role:b", "--json").json
    assert (done["reason"], done["by"], done["notes"]) == ("request 17", "role:dpo", 2)
    assert forgotten(folder, "--json").json == done | {"notes": 0}
    notes = [one for one in command(folder, "trail", "T-2", "--json").json if "forgotten" in one["event"]["data"]]
    assert [one["verdict"] for one in notes] == (["accepted", "duplicate"] if moment == "recorded" else ["accepted"])
    assert notes[0]["event"]["data"]["reason"] == "request 17"


def test_a_log_that_is_away_leaves_the_note_to_the_next_run(folder: Path) -> None:
    """The key goes all the same; the exit code says that something is left to do."""
    (folder / "pauseledger.db").rename(folder / "aside.db")
    done = forgotten(folder)
    assert (done.code, done.out) == (1, "")
    (folder / "aside.db").rename(folder / "pauseledger.db")
    assert forgotten(folder, "--json").json["notes"] == 2


def test_what_was_sealed_for_another_log_is_said(folder: Path) -> None:
    """One key store for two ledgers: each is told by a run of its own."""
    command(folder, "publish", stdin=[story()[1]], env={"PAUSELEDGER_LOG": "sqlite:///other.db"})
    done = forgotten(folder, "--json").json
    assert done["elsewhere"] == [f"sqlite://{(folder / 'other.db').resolve()}"]
    done = forgotten(folder, "--json", "--log", "sqlite:///other.db").json
    assert (done["notes"], done["elsewhere"]) == (1, [])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["user:anna", "--reason", "Anna asked"], 2, "names the data subject"),
        (["user:anna", "--reason", "of user:ANNA"], 2, "names the data subject"),
        (["user:anna", "--reason", " "], 2, "--reason is empty"),
        (["user:anna", "--reason", "asked", "--by", "user:anna"], 2, "--by names"),
        (["user:nobody", "--reason", "asked"], 1, "never had a key"),
        (["user:anna"], 2, "--reason"),
    ],
)
def test_what_forget_refuses(folder: Path, arguments: list[str], code: int, says: str) -> None:
    """What would name somebody for good, or means nobody; the key stays."""
    done = command(folder, "forget", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert command(folder, "trail", "T-1", "--reveal", "--json").json[0]["personal"][0]["state"] == "revealed"


def test_a_reason_may_have_the_letters_of_a_name() -> None:
    """Whole words are compared, and of a short one only the whole name."""
    refuse_naming("user:ann", reason="it was annulled")
    refuse_naming("customer:7", reason="request 7")
    with pytest.raises(WrongUsage):
        refuse_naming("customer:7", reason="request of customer:7")


def test_without_a_key_store_nothing_is_revealed_or_forgotten(folder: Path) -> None:
    """One line says what to set."""
    for arguments in (["trail", "T-1", "--reveal"], ["forget", "user:anna", "--reason", "x"], ["personal", "rewrap"]):
        done = run(*arguments, folder=folder)
        assert done.code == 2
        assert "PAUSELEDGER_PERSONAL" in done.err
    refused = run("publish", folder=folder, stdin=story()[0])
    assert refused.code == 2
    assert "Set PAUSELEDGER_PERSONAL_KEYS" in refused.err


def test_doctor_looks_at_the_key_store(folder: Path) -> None:
    """That it is there and opens, or what to do; nothing where none is set."""

    def found(env: dict[str, str]) -> list[tuple[str, str]]:
        lines = run("doctor", "--json", folder=folder, env=env).json
        return [(one["level"], one["finding"] + one["advice"]) for one in lines if one["check"] == "personal keys"]

    assert found({}) == []
    ((level, _),) = found(KEYS)
    assert level == "ok"
    ((level, said),) = found(KEYS | {"PAUSELEDGER_PERSONAL_STORE_KEY": base64.b64encode(bytes(32)).decode()})
    assert level == "problem"
    assert "rewrap" in said
    ((level, said),) = found({"PAUSELEDGER_PERSONAL_KEYS": "sqlite:///typo.db"})
    assert (level, "no key store" in said) == ("problem", True)


def test_rewrap_by_the_command_line(folder: Path) -> None:
    """Wrapped, the store opens with its store key only; and back with --plain."""
    new = base64.b64encode(bytes(range(40))).decode()
    assert command(folder, "personal", "rewrap").code == 2
    assert command(folder, "personal", "rewrap", "--json", env={"PAUSELEDGER_PERSONAL_NEW_STORE_KEY": new}).json == {
        "keys": 2
    }
    assert command(folder, "trail", "T-1", "--reveal").code == 1
    revealed = command(folder, "trail", "T-1", "--reveal", env={"PAUSELEDGER_PERSONAL_STORE_KEY": new})
    assert "Anna asks" in revealed.out
    plain = command(folder, "personal", "rewrap", "--plain", env={"PAUSELEDGER_PERSONAL_STORE_KEY": new})
    assert "Wrapped 2 keys anew" in plain.out
    assert "Anna asks" in command(folder, "trail", "T-1", "--reveal").out


# -- the other doors --------------------------------------------------------------------------------


def test_over_http_each_mode_is_sealed(tmp_path: Path) -> None:
    """Structured, batch, binary; reading reveals nothing; what can't be sealed is a problem that names the member."""
    with api(tmp_path, personal_keys=url(tmp_path / "keys.db")) as client:
        one = story()[1]
        assert client.post("/v1/events", content=one, headers=STRUCTURED).json()["verdict"] == "accepted"
        batch = b"[" + b",".join([story()[0], one]) + b"]"
        found = client.post("/v1/events", content=batch, headers=BATCH).json()
        assert [each["verdict"] for each in found] == ["accepted", "duplicate"]
        attributes = {name: value for name, value in json.loads(one).items() if name != "data"}
        headers = {f"ce-{name}": str(value) for name, value in attributes.items()} | {
            "content-type": "application/json"
        }
        answer = client.post("/v1/events", content=b'{"text":"Anna asks"}', headers=headers)
        assert answer.json()["verdict"] == "duplicate"
        shown = client.get("/v1/work-items/T-1/trail").text + client.get("/v1/work-items/T-1/pauses/p1").text
        assert "sealed:v1:" in shown
        assert "Anna" not in shown
        bad = marked("heartbeat.recorded", {"execution": "e", "pause": "p"}, {"user:anna": ["/pause"]})
        for content, kind in ((bad, STRUCTURED), (b"[" + one + b"," + bad + b"]", BATCH)):
            refused = client.post("/v1/events", content=content, headers=kind)
            assert is_problem(refused, "wrong-usage")
            assert "/pause is judged by the rules" in refused.json()["detail"]
        assert len(client.get("/v1/work-items/T-1/trail").json()) == 4
    assert not [word for word in PLAIN if word in everything(tmp_path)]


def test_a_server_without_a_key_store_refuses_what_is_marked(tmp_path: Path) -> None:
    """Nothing of it is recorded."""
    with api(tmp_path) as client:
        assert is_problem(client.post("/v1/events", content=story()[1], headers=STRUCTURED), "wrong-usage")
        assert client.get("/v1/work-items").json()["items"] == []


@pytest.fixture
def on_kafka(broker: Broker, topic: str) -> str:
    return f"kafka://{broker.address}/{topic}"


@pytest.mark.kafka
def test_on_kafka_only_ciphertext_is_sent(on_kafka: str, folder: Path) -> None:
    """What the broker has never was readable, and a note comes onto each work item's own partition."""
    env = {"PAUSELEDGER_LOG": on_kafka, "PAUSELEDGER_INDEX": "sqlite:///kafka.db"}
    assert command(folder, "publish", "--json", stdin=story(), env=env).code == 0
    assert (
        command(folder, "trail", "T-1", "--reveal", "--json", env=env).json[1]["event"]["data"]["text"] == "Anna asks"
    )
    done = run("forget", "user:anna", "--reason", "asked", "--json", folder=folder, env=KEYS | env).json
    assert done["notes"] == 2
    with closing(open_log(on_kafka)) as log:
        records = records_of(log)
    assert len(records) == 6
    raw = b"".join(record_bytes(one) for one in records)
    assert not [word for word in PLAIN if word in raw]
    trail = command(folder, "trail", "T-2", "--reveal", "--json", env=env).json
    assert [one["state"] for one in trail[0]["personal"]] == ["revealed", "forgotten"]
    assert trail[1]["event"]["data"]["forgotten"] == done["key"]


def test_keys_in_postgres_are_forgotten_by_the_command_line(tmp_path: Path, postgres: Postgres) -> None:
    """Marked, revealed and forgotten with a wrapped store there; nothing there opens without the store key."""
    keys = {"PAUSELEDGER_PERSONAL_KEYS": postgres.new_index(), "PAUSELEDGER_PERSONAL_STORE_KEY": STORE_KEY}
    assert command(tmp_path, "publish", stdin=story(), env=keys).code == 0
    assert "Anna asks" in command(tmp_path, "trail", "T-1", "--reveal", env=keys).out
    bare = command(tmp_path, "trail", "T-1", "--reveal", env=keys | {"PAUSELEDGER_PERSONAL_STORE_KEY": ""})
    assert (bare.code, bare.out, "must be wrapped" in bare.err) == (2, "", True)
    other = command(
        tmp_path, "trail", "T-1", "--reveal", env=keys | {"PAUSELEDGER_PERSONAL_STORE_KEY": OTHER_STORE_KEY}
    )
    assert (other.code, "another store key" in other.err) == (1, True)
    reason = ("--reason", "request 17", "--by", "role:dpo", "--json")
    assert command(tmp_path, "forget", "user:anna", *reason, env=keys).json["notes"] == 2
    shown = command(tmp_path, "trail", "T-2", "--reveal", "--json", env=keys).json[0]["personal"]
    assert [one["state"] for one in shown] == ["revealed", "forgotten"]
    assert not [word for word in PLAIN if word in everything(tmp_path)]


def test_the_note_is_the_same_bytes_each_time() -> None:
    """It says which key, by whom and why, and can't say whose."""
    key = Destroyed("0" * 32, 1_700_000_000_000, "role:dpo", "request 17")
    assert note_of(key, "T-1") == note_of(key, "T-1")
    content = json.loads(note_of(key, "T-1"))
    assert (content["time"], content["id"]) == ("2023-11-14T22:13:20.000Z", f"forgotten-{'0' * 32}")
