"""The site file: one YAML document that names the peers, their strategies and tolerances.

`docs/schemas/site.schema.json` is its JSON Schema. Every fault is reported at once.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hilum.errors import Rejected
from hilum.strict_yaml import read_yaml

Port = Annotated[int, Field(ge=1, le=65535)]
# PS3.5 6.2 AE: at most 16 characters, no backslash, not spaces alone.
AeTitle = Annotated[
    str, Field(max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$")
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
_LIMIT_BYTES = 256 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Feed(_Strict):
    """What is special about one sender, named by its MSH-3 and MSH-4."""

    sending_application: str
    sending_facility: str = ""
    default_charset: str = Field("8859/1", description="MSH-18 when the sender leaves it empty (table 0211)")
    identifier_authority: str = Field("", description="assigner of PID-3 identifiers that name none")
    paths: dict[str, list[str]] = Field(
        default_factory=dict, description="logical field -> HL7 paths to try in order, instead of the built-in ones"
    )


class Ris(_Strict):
    """Where worklist priorities go (HL7 v2 over MLLP)."""

    host: str = "127.0.0.1"
    port: Port
    strategy: Literal["oru", "orm", "omi"] = "oru"
    receiving_application: str = "RIS"
    receiving_facility: str = ""
    acknowledgement_timeout_seconds: Seconds = 10.0
    attempts: int = Field(4, ge=1, le=100)
    retry_seconds: Seconds = 2.0
    overwrite_priorities: list[str] = Field(
        default_factory=lambda: ["", "R"],
        description="ordered priorities that a finding may raise (P, C, T have no order)",
    )
    suppress_at_report_status: list[str] = Field(default_factory=lambda: ["F", "C", "X"])


class Ehr(_Strict):
    """Where FHIR R4 resources go."""

    url: str = Field(pattern=r"^https?://")
    patient_identifier_system: dict[str, str] = Field(
        default_factory=dict, description="identifier authority -> FHIR identifier system"
    )
    default_patient_identifier_system: str = Field(
        "urn:hilum:patient",
        description="of identifiers that name no authority, or the site's own `identifier_authority`; a patient known "
        "only by another authority's is held until that one stands in the table",
    )
    accession_identifier_system: str = "urn:hilum:accession"
    create_missing_patients: bool = Field(False, description="off: a patient that the EHR does not know is held")
    timeout_seconds: Seconds = 10.0
    attempts: int = Field(8, ge=1, le=100)
    retry_seconds: Seconds = 2.0


class Pacs(_Strict):
    """Where DICOM results go (C-STORE)."""

    host: str = "127.0.0.1"
    port: Port
    ae_title: AeTitle = "PACS"
    timeout_seconds: Seconds = 30.0
    attempts: int = Field(8, ge=1, le=100)
    retry_seconds: Seconds = 5.0


class Completeness(_Strict):
    """When a study counts as complete; evidence in this order."""

    complete_order_statuses: list[str] = Field(default_factory=lambda: ["CM"], description="ORC-5, table 0038")
    settle_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        1.0, description="after an order status or count says complete, wait this long since the last image"
    )
    quiet_seconds: Seconds = Field(30.0, description="without other evidence: so long without a new image")


class Matching(_Strict):
    """How orders and images must come together."""

    require_order: bool = True
    order_wait_seconds: Seconds = Field(3600.0, description="images without an order become `unmatched` after this")
    image_wait_seconds: Seconds = Field(86_400.0, description="an order without images is `never_arrived` after this")
    result_wait_seconds: Seconds = Field(600.0, description="a task without a result raises an alarm after this")


class Algorithm(_Strict):
    """What the site decides about one model package."""

    name: str
    version: str = Field("", description="empty: the newest version that is installed")
    state: Literal["live", "silent", "off"] = "live"

    @field_validator("state", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: object) -> object:
        return "off" if value is False else value


class Site(_Strict):
    """The whole file."""

    site: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    timezone: str = "UTC"
    processing_id: Literal["P", "T", "D"] = "P"
    identifier_authority: str = Field("", description="assigner of identifiers for which nobody names one")
    feeds: list[Feed] = Field(default_factory=list)
    ris: Ris | None = None
    ehr: Ehr | None = None
    pacs: Pacs | None = None
    completeness: Completeness = Completeness()
    matching: Matching = Matching()
    algorithms: list[Algorithm] | None = Field(None, description="none given: every installed package is live")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("not an IANA time zone")
        return value

    # Of the fields, not of the whole: so they are reported together with the faults of other fields.
    @field_validator("feeds")
    @classmethod
    def _unambiguous_feeds(cls, value: list[Feed]) -> list[Feed]:
        if len(value) != len({(feed.sending_application, feed.sending_facility) for feed in value}):
            raise ValueError("two feeds have the same sending application and facility")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def revision(self) -> str:
        """Changes exactly when the file's meaning does; stands on every decision."""
        meaning = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(meaning.encode()).hexdigest()[:16]

    def feed(self, sending_application: str, sending_facility: str) -> Feed | None:
        """The entry for a sender: application and facility, else application alone (facility left empty)."""
        by_name = {(feed.sending_application, feed.sending_facility): feed for feed in self.feeds}
        return by_name.get((sending_application, sending_facility)) or by_name.get((sending_application, ""))


def parse_site(document: Any) -> Site:
    """Raises `Rejected` (`site_file`) whose text lists every fault with its place."""
    try:
        return Site.model_validate(document)
    except ValidationError as error:
        faults = "\n".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise Rejected("site_file", faults) from error


def load_site(path: Path) -> Site:
    """Read a site file. Raises `Rejected` (`site_file`) when it cannot be read or does not hold."""
    try:
        with path.open("rb") as file:
            source = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise Rejected("site_file", f"{path.name} cannot be read: {type(error).__name__}") from error
    if len(source) > _LIMIT_BYTES:
        raise Rejected("site_file", f"{path.name}: larger than {_LIMIT_BYTES} bytes")
    try:
        document = read_yaml(source)
    except Rejected as error:
        raise Rejected("site_file", f"{path.name}: {error.text}") from error
    return parse_site(document)
