"""Feeds: who sends, and how what they send is to be taken. All of it from the site file, checked before the start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from hilum.errors import Rejected
from hilum.hl7.charsets import known_charsets
from hilum.hl7.header import Header
from hilum.hl7.judge import Rules
from hilum.hl7.paths import load_tables


@dataclass(frozen=True, slots=True)
class FeedProfile:
    """What is special about one sender; an empty facility stands for all of an application's."""

    sending_application: str
    sending_facility: str = ""
    default_charset: str = "8859/1"
    identifier_authority: str = ""
    paths: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """How the messages of one sender are taken."""

    rules: Rules
    identifier_authority: str
    """Who assigned PID-3 identifiers that name nobody."""


class Feeds:
    """The senders of one site. Raises Rejected ``feeds_bad`` that lists every fault of every profile."""

    def __init__(
        self,
        site: str,
        zone: ZoneInfo,
        profiles: Iterable[FeedProfile],
        *,
        processing_id: str = "P",
        identifier_authority: str = "",
        own_application: str = "HILUM",
    ) -> None:
        self.site = site
        self.zone = zone
        self.own_application = own_application
        faults: list[str] = []
        self._unknown = Taken(Rules(load_tables(), processing_id, "8859/1"), identifier_authority)
        self._known: dict[tuple[str, str], Taken] = {}
        for profile in profiles:
            name = "|".join(filter(None, (profile.sending_application, profile.sending_facility)))
            if profile.default_charset not in known_charsets():
                faults.append(f"feed {name}: default_charset {profile.default_charset!r} is not supported")
            try:
                tables = load_tables(profile.paths) if profile.paths else self._unknown.rules.tables
            except Rejected as error:
                faults.extend(f"feed {name}: paths.{line}" for line in error.text.splitlines())
                continue
            rules = Rules(tables, processing_id, profile.default_charset)
            taken = Taken(rules, profile.identifier_authority or identifier_authority)
            self._known[profile.sending_application, profile.sending_facility] = taken
        if faults:
            raise Rejected("feeds_bad", "\n".join(faults))

    def taken(self, header: Header) -> Taken:
        """By application and facility, else by application alone, else as any sender."""
        sender = (header.sending_application, header.sending_facility)
        return self._known.get(sender) or self._known.get((sender[0], "")) or self._unknown

    def rules(self, header: Header) -> Rules:
        return self.taken(header).rules

    def key(self, header: Header) -> str:
        """The feed's name, which keys its topic: site, MSH-3 and MSH-4."""
        return f"{self.site}|{header.sending_application}|{header.sending_facility}"
