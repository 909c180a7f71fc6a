"""Which presentation contexts are accepted (PS3.8 9.3.3): every storage SOP class, in the sender's own encoding.

Each context gets the first transfer syntax that its sender proposed and that we know: senders list first what
they hold, so nobody has to transcode.
"""

from collections.abc import Iterable, Sequence

from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, register_uid
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

VERIFICATION = "1.2.840.10008.1.1"
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
# JPIP data sets refer to pixels that stay with their sender.
_JPIP = frozenset(f"1.2.840.10008.1.2.4.{suffix}" for suffix in ("94", "95", "204", "205"))
TRANSFER_SYNTAXES = frozenset({*map(str, ALL_TRANSFER_SYNTAXES), _ENCAPSULATED_UNCOMPRESSED}) - _JPIP
# Retired, or not in pynetdicom's list, and still in archives (PS3.6 A).
_FURTHER = (
    "1.2.840.10008.5.1.1.29",
    "1.2.840.10008.5.1.1.30",
    *(f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("3", "5", "6", "8", "9", "9.1", "10", "11", "12.3")),
    *(f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("77.1", "77.2", "88.1", "88.2", "88.3", "88.4", "129")),
    *(f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("200.1", "200.3", "200.7", "601.1", "601.2")),
)


def storage_sop_classes(additional: Iterable[str] = ()) -> frozenset[str]:
    """UIDs of the storage SOP classes, the ``additional`` ones made known to pynetdicom as such."""
    further = (*_FURTHER, *additional)
    for uid in further:
        if uid_to_service_class(uid) is not StorageServiceClass:
            register_uid(uid, "Storage_" + uid.replace(".", "_"), StorageServiceClass)
    listed = (str(context.abstract_syntax) for context in AllStoragePresentationContexts)
    return frozenset({*listed, *further})


def supported(proposed: Sequence[PresentationContext], sop_classes: frozenset[str]) -> list[PresentationContext]:
    """What to support for this proposal, each SOP class with its transfer syntaxes in the sender's order."""
    syntaxes: dict[str, dict[UID, None]] = {}
    for context in proposed:
        sop_class = str(context.abstract_syntax)
        if sop_class in sop_classes or sop_class == VERIFICATION:
            known = {syntax: None for syntax in context.transfer_syntax if str(syntax) in TRANSFER_SYNTAXES}
            syntaxes.setdefault(sop_class, {}).update(known)
    return [build_context(sop_class, list(known)) for sop_class, known in syntaxes.items() if known]
