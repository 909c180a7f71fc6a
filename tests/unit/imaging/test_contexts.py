"""Which presentation contexts are accepted."""

from pynetdicom import build_context

from hilum.imaging.adapters.contexts import storage_sop_classes, supported

CT, CT_FIND = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.2.1"
J2K, EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def test_the_senders_first_encoding_comes_first() -> None:
    (context,) = supported([build_context(CT, [J2K, EXPLICIT, IMPLICIT])], storage_sop_classes())
    assert context.transfer_syntax == [J2K, EXPLICIT, IMPLICIT]


def test_several_contexts_of_one_class_are_one_with_all_their_encodings() -> None:
    (context,) = supported([build_context(CT, [J2K]), build_context(CT, [IMPLICIT])], storage_sop_classes())
    assert context.transfer_syntax == [J2K, IMPLICIT]


def test_verification_is_supported_and_query_is_not() -> None:
    found = supported([build_context("1.2.840.10008.1.1", [IMPLICIT]), build_context(CT_FIND)], storage_sop_classes())
    assert [context.abstract_syntax for context in found] == ["1.2.840.10008.1.1"]


def test_an_unknown_encoding_is_not_accepted() -> None:
    assert supported([build_context(CT, ["1.2.3.4"])], storage_sop_classes()) == []


def test_retired_and_listed_private_classes_are_storage() -> None:
    retired_ultrasound, private = "1.2.840.10008.5.1.4.1.1.6", "1.3.12.2.1107.5.9.1"
    assert retired_ultrasound in storage_sop_classes()
    assert private not in storage_sop_classes()
    assert private in storage_sop_classes([private])
