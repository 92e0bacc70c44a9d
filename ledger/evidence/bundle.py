"""What a bundle is: its files, its manifest, and the one right way in which each record is written.

``manifest.json`` is RFC 8785 JSON; ``entries.jsonl`` has a record a line, by partition and offset; ``leaves-P`` has the
64 bytes of every leaf behind the genesis, up to the checkpoint in ``checkpoint-P``; ``verdicts.jsonl`` has a line for
each entry that had happened as of ``as_of``, in the order of the entries; ``decisions.jsonl`` one for each pause, by
work item. Reading is strict: what is written in another way is refused, so that nothing is read in two ways.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.evidence.failures import shown
from ledger.evidence.leaves import Genesis
from ledger.record import Record
from ledger.times import format_instant, from_milliseconds, parse_instant, to_milliseconds

WRITERS = ("0.1.0",)
"""The versions of this program whose bundles this one knows; the last one is this."""

MANIFEST, ENTRIES, VERDICTS, DECISIONS = "manifest.json", "entries.jsonl", "verdicts.jsonl", "decisions.jsonl"
KEY, TAG_KEY, README, REPORT, OCSF = "key.txt", "tag-key.txt", "README.txt", "report.html", "ocsf.jsonl"
CSV_FOLDER, PARQUET_FOLDER = "csv/", "parquet/"

LONGEST_MANIFEST = 16 * 1024 * 1024
LONGEST_LINE = 32 * 1024 * 1024
"""Of any file with a line a record: what a record of the largest size takes, however it must be written."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
Text = Annotated[str, Field(min_length=1, max_length=1_024)]
Format = Literal["csv", "ocsf", "parquet"]


class BadText(ValueError):
    """A line or a manifest that is not as it must be written."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Query(_Part):
    """What was asked for: all, work items by name, or those that something is true of."""

    all: bool = False
    subjects: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    partitions: tuple[Count, ...] = ()
    """Of ``all``: these partitions only; every one where none is named."""
    owner: Text | None = None
    """Work items of which this owner has an execution."""
    verdict: Text | None = None
    """Work items with an entry of this verdict, or of this code."""
    active_from: str | None = None
    active_to: str | None = None
    """Work items with such an entry from then on, and before then."""
    until: str | None = None
    formats: tuple[Format, ...] = ()

    @property
    def is_chosen(self) -> bool:
        """Whether work items were chosen by what is true of them: that none was left out is not proven then."""
        return not self.all and not self.subjects


class CoveredPartition(_Part):
    """A partition: what its genesis says, and how many leaves its checkpoint covers."""

    ledger: Text
    topic: Text
    topic_id: Text
    partition: Count
    partitions: Annotated[int, Field(ge=1, lt=2**31)]
    protocol: Literal[1]
    tag_key_sha256: Text
    size: Count

    @property
    def genesis(self) -> Genesis:
        """Leaf 0 of its tree."""
        members = self.model_dump(exclude={"size"})
        return Genesis(**members)

    @classmethod
    def of(cls, genesis: Genesis, size: int) -> Self:
        """From a genesis and the size of a checkpoint."""
        return cls(**genesis.as_dict(), size=size)


class Counts(_Part):
    """How much of what is in a bundle."""

    entries: Count = 0
    verdicts: Count = 0
    decisions: Count = 0
    work_items: Count = 0


class FileDigest(_Part):
    """What a file must be."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Count


class Versions(_Part):
    """By what a bundle was made. ``rendering`` counts the changes of what is shown to people."""

    pauseledger: Text
    protocol: Literal[1]
    rendering: Count


class Manifest(_Part):
    """The manifest. ``subjects`` is null where all were asked for."""

    format: Literal["pauseledger bundle"] = "pauseledger bundle"
    version: Literal[1] = 1
    ledger: Text
    query: Query
    as_of: str | None
    partitions: tuple[CoveredPartition, ...]
    subjects: tuple[str, ...] | None
    counts: Counts
    files: Mapping[str, FileDigest]
    versions: Versions

    def as_dict(self) -> dict[str, Any]:
        """The manifest as scripts read it."""
        return self.model_dump(mode="json")

    def as_bytes(self) -> bytes:
        """The file. Raises ``ValueError`` where that can't be written."""
        return rfc8785.dumps(self.as_dict())


def read_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes. Raises ``BadText``."""
    try:
        manifest = Manifest.model_validate_json(data)
        written = manifest.as_bytes()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise BadText(f"{shown(place)}: {shown(found['msg'])}") from None
    except (ValueError, RecursionError):
        raise BadText("it can't be written as RFC 8785 says") from None
    if written != data:
        raise BadText("it is not written as RFC 8785 says")
    return manifest


def leaves_file(partition: int) -> str:
    """The file with the leaves of a partition."""
    return f"leaves-{partition}"


def checkpoint_file(partition: int) -> str:
    """The file with the checkpoint of a partition."""
    return f"checkpoint-{partition}"


def written_time(instant: datetime) -> str:
    """A time as a manifest has it: in UTC, with milliseconds, and microseconds where there are any."""
    if instant.microsecond % 1_000 == 0:
        return format_instant(instant)
    return f"{instant.isoformat(timespec='microseconds')[:-6]}Z"


def read_time(text: str) -> datetime:
    """The inverse of :func:`written_time`, from the one right way to write it. Raises ``BadText``."""
    try:
        instant = parse_instant(text)
    except ValueError as error:
        raise BadText(str(error)) from None
    if written_time(instant) != text:
        raise BadText("a time is written in UTC, with milliseconds")
    return instant


def written_instant(milliseconds: int) -> str:
    """The time of a log's clock as a manifest has it."""
    return written_time(from_milliseconds(milliseconds))


def read_instant(text: str) -> int:
    """A time of a manifest as a log's clock has it: the last one that is not later. Raises ``BadText``."""
    return to_milliseconds(read_time(text))


def file_names(partitions: Sequence[int]) -> list[str]:
    """The files that every bundle of these partitions has beside its manifest, and that nothing is rendered into."""
    each = [name(partition) for partition in partitions for name in (leaves_file, checkpoint_file)]
    return [DECISIONS, ENTRIES, KEY, TAG_KEY, VERDICTS, *each]


def in_order(names: Sequence[str]) -> list[str]:
    """The order in which files lie in a zip: the manifest, then by name."""
    return [MANIFEST, *sorted(name for name in names if name != MANIFEST)]


def _bytes_as_json(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes_from_json(content: Any) -> bytes | None:
    if content is None:
        return None
    if isinstance(content, str):
        return content.encode()
    return base64.b64decode(content["base64"], validate=True)


def entry_line(record: Record) -> bytes:
    """A record as a line of ``entries.jsonl``, without the line's end."""
    return orjson.dumps(
        {
            "partition": record.partition,
            "offset": record.offset,
            "recorded_at": record.recorded_at,
            "key": _bytes_as_json(record.key),
            "value": _bytes_as_json(record.value),
            "headers": [
                [_bytes_as_json(name.encode(errors="surrogateescape")), _bytes_as_json(value)]
                for name, value in record.headers
            ],
        }
    )


def _whole(content: Any) -> int:
    if type(content) is not int or not 0 <= content < 2**63:
        raise TypeError("no such number")
    return content


def _header(content: Any) -> tuple[str, bytes | None]:
    name, value = content
    return (_bytes_from_json(name) or b"").decode(errors="surrogateescape"), _bytes_from_json(value)


def read_entry_line(line: bytes) -> Record:
    """The record of a line, without its end. Raises ``BadText`` for a line that is written in any other way."""
    record = entry_of(line)
    if entry_line(record) != line:
        raise BadText("it is a record, but not as it must be written")
    return record


def entry_of(line: bytes) -> Record:
    """The record of a line, however it is written. Raises ``BadText``."""
    try:
        content = orjson.loads(line)
        record = Record(
            _whole(content["partition"]),
            _whole(content["offset"]),
            _whole(content["recorded_at"]),
            _bytes_from_json(content["key"]),
            _bytes_from_json(content["value"]),
            tuple([_header(one) for one in content["headers"]]),
        )
    except (ValueError, TypeError, LookupError, AttributeError, binascii.Error):
        raise BadText("it is no record") from None
    return record


def versions(rendering: int) -> Versions:
    """What this program is."""
    return Versions(pauseledger=WRITERS[-1], protocol=1, rendering=rendering)
