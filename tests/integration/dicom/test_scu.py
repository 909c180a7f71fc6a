"""Our storage SCU against dcmtk's storescp, and against peers that refuse, vanish or hang."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.acse import ACSE

from datasets.images import image
from hilum.dicom.scu import Peer, echo, store
from hilum.errors import Overloaded, Rejected, Unavailable
from peers.ports import take_free_port
from peers.storescp import StoreScp

pytestmark = pytest.mark.peers


def chest(number: int = 1, **elements: object) -> Dataset:
    return image(np.zeros((16, 16)), bits_stored=8, SOPInstanceUID=f"1.2.3.{number}", Modality="DX", **elements)


def peer(port: int, ae_title: str = "STORESCP", seconds: float = 5.0) -> Peer:
    return Peer("127.0.0.1", port, ae_title, timeout_seconds=seconds)


@contextmanager
def answering(status: int | Dataset) -> Iterator[int]:
    """A storage SCP that answers every C-STORE with ``status``, or that answer; its port."""
    entity = AE("STORESCP")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: status)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def test_echo_is_answered(storescp: StoreScp) -> None:
    echo(peer(storescp.port))


def test_instances_arrive_as_they_were_and_each_has_its_outcome(storescp: StoreScp) -> None:
    sent = [chest(number, PatientName="Müller", SpecificCharacterSet="ISO_IR 192") for number in range(1, 4)]
    outcomes = store(peer(storescp.port), sent)
    assert [(outcome.sop_instance_uid, outcome.status, outcome.stored) for outcome in outcomes] == [
        (f"1.2.3.{number}", 0, True) for number in range(1, 4)
    ]
    assert [dcmread(file, force=True).PatientName for file in storescp.files()] == ["Müller"] * 3


def test_more_contexts_than_one_association_carries_are_sent_on_several(storescp: StoreScp) -> None:
    classes = [context.abstract_syntax for context in AllStoragePresentationContexts[:45]]
    syntaxes = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    pairs = list(product(classes, syntaxes))
    sent = [chest(number, SOPClassUID=uid, syntax=syntax) for number, (uid, syntax) in enumerate(pairs, 1)]
    outcomes = store(peer(storescp.port), sent)
    assert [outcome.stored for outcome in outcomes] == [True] * 135


def test_a_peer_that_rejects_the_association_for_good_says_so(start_storescp: Callable[..., StoreScp]) -> None:
    refusing = start_storescp("--refuse")
    with pytest.raises((Rejected, Unavailable), match="association_rejected"):
        store(peer(refusing.port), [chest()])


def test_a_rejection_that_comes_at_once_is_not_taken_for_an_abort(
    start_storescp: Callable[..., StoreScp], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ACSE.send_request

    def request_and_linger(acse: ACSE) -> None:
        request(acse)
        time.sleep(0.5)  # meanwhile the answer has come and the connection is gone

    monkeypatch.setattr(ACSE, "send_request", request_and_linger)
    refusing = start_storescp("--refuse")
    with pytest.raises((Rejected, Unavailable), match="association_rejected"):
        store(peer(refusing.port), [chest()])


def test_a_peer_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="connection_failed"):
        store(peer(take_free_port()), [chest()])


def test_a_peer_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="association_aborted"):
            echo(peer(silent.getsockname()[1], seconds=0.5))
        assert time.monotonic() - began < 5


def test_a_peer_that_goes_away_leaves_its_instances_unanswered(start_storescp: Callable[..., StoreScp]) -> None:
    aborting = start_storescp("--abort-after")
    outcomes = store(peer(aborting.port), [chest(1), chest(2)])
    assert [outcome.stored for outcome in outcomes] == [False, False]
    assert {outcome.error.code for outcome in outcomes if outcome.error is not None} == {"no_answer"}


@pytest.mark.parametrize(("status", "kind"), [(0xA700, Overloaded), (0xA900, Rejected), (0x0110, Unavailable)])
def test_a_refusal_is_an_error_with_its_remedy(status: int, kind: type[Exception]) -> None:
    with answering(status) as port:
        (outcome,) = store(peer(port), [chest()])
    assert (outcome.status, outcome.stored) == (status, False)
    assert isinstance(outcome.error, kind)


def test_a_warning_means_stored() -> None:
    with answering(0xB000) as port:
        (outcome,) = store(peer(port), [chest()])
    assert outcome.stored
    assert outcome.error is None


def test_calls_from_several_threads_do_not_disturb_each_other(storescp: StoreScp) -> None:
    outcomes: list[bool] = []

    def send(first: int) -> None:
        sent = store(peer(storescp.port), [chest(number) for number in range(first, first + 5)])
        outcomes.extend(outcome.stored for outcome in sent)

    threads = [threading.Thread(target=send, args=(first,)) for first in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == [True] * 15


def test_the_peers_error_comment_is_told() -> None:
    answer = Dataset()
    answer.Status, answer.ErrorComment = 0xA900, "the command names another class"
    with answering(answer) as port:
        (outcome,) = store(peer(port), [chest()])
    assert (outcome.status, outcome.comment) == (0xA900, "the command names another class")


def test_instances_are_taken_as_they_are_needed(storescp: StoreScp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.dicom.scu._BATCH_INSTANCES", 2)
    ahead: list[int] = []

    def read() -> Iterator[Dataset]:
        for number in range(1, 6):
            ahead.append(number - len(storescp.files()))
            yield chest(number)

    outcomes = store(peer(storescp.port), read())

    assert [outcome.sop_instance_uid for outcome in outcomes if outcome.stored] == [f"1.2.3.{n}" for n in range(1, 6)]
    assert max(ahead) <= 2


def test_a_peer_that_goes_away_between_batches_leaves_an_outcome_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hilum.dicom.scu._BATCH_BYTES", 1)

    with ExitStack() as stands:
        port = stands.enter_context(answering(0x0000))

        def read() -> Iterator[Dataset]:
            yield chest(1)
            stands.close()
            yield chest(2)
            yield chest(3)

        outcomes = store(peer(port), read())

    assert [outcome.stored for outcome in outcomes] == [True, False, False]
    assert [one.error.code for one in outcomes[1:] if one.error is not None] == ["connection_failed"] * 2


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN-LETTERS", "BACK\\SLASH", "MÜNCHEN"])
def test_an_ae_title_that_cannot_be_one_is_wrong_use(title: str) -> None:
    with pytest.raises(Rejected, match="ae_title_invalid"):
        store(peer(1, title), [chest()])


@pytest.mark.parametrize(
    ("host", "kind", "code"),
    [("nobody.invalid", Unavailable, "connection_failed"), ("a" * 70 + ".x", Rejected, "host_invalid")],
)
def test_a_host_without_an_address_is_told(host: str, kind: type[Exception], code: str) -> None:
    with pytest.raises(kind, match=code):
        echo(Peer(host, 104, "STORESCP"))
