from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable

import pytest

from gateway.dicom import dimse, pdu
from gateway.dicom.limits import Limits
from gateway.payloads.receiving import Outcome, Status
from tests.support.dicompeer import Parrot, Station, p_data, pdv, request, store_command

DATA = bytes(range(256)) * 10


def stored(station: Station) -> list[bytes]:
    return [item.data for item in station.spool.stored]


def test_an_instance_is_stored_and_answered(station: Station, parrot: Parrot) -> None:
    accept = parrot.associate()
    assert accept.user.max_pdu == 131072
    parrot.say(p_data(pdv(1, store_command("1.2.3"), command=True)) + p_data(pdv(1, DATA)))
    answer = parrot.response()
    assert answer.number(0x0900) == 0
    assert answer.number(0x0120) == 7
    assert answer.text(0x1000) == "1.2.3"
    (item,) = station.spool.stored
    assert item.data == DATA
    assert item.arrival.called_ae == "AI"
    assert item.arrival.calling_ae == "CT1"
    assert item.arrival.host == "127.0.0.1"
    assert item.arrival.transfer_syntax_uid == "1.2.840.10008.1.2"
    (record,) = station.records()
    assert record.id == item.arrival.association_id
    assert record.state == "OPEN"
    (snapshot,) = station.scp.snapshot()
    assert (snapshot.instances, snapshot.bytes) == (1, len(DATA))
    parrot.release()
    wait_until(lambda: station.records()[0].state == "RELEASED")
    assert station.scp.active == 0
    assert station.associations.last_byte(record.id) is None


def test_command_and_data_share_pdus_and_fragments_cross_them(
    station: Station, parrot: Parrot
) -> None:
    parrot.associate()
    command = store_command()
    parrot.say(
        p_data(pdv(1, command[:20], command=True, last=False))
        + p_data(
            pdv(1, command[20:21], command=True, last=False),
            pdv(1, b"", command=True, last=False),
            pdv(1, command[21:], command=True),
            pdv(1, DATA[:10], last=False),
        )
        + p_data(pdv(1, DATA[10:11], last=False), pdv(1, DATA[11:], last=False), pdv(1, b""))
        + p_data(pdv(1, store_command("1.2.4"), command=True), pdv(1, b"second"))
    )
    assert parrot.response().text(0x1000) == "1.2.3"
    assert parrot.response().text(0x1000) == "1.2.4"
    assert stored(station) == [DATA, b"second"]


def test_every_split_of_the_stream_reads_the_same(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    stream = p_data(pdv(1, store_command(), command=True), pdv(1, b"ab", last=False))
    stream += p_data(pdv(1, b"cd"))
    for step in (1, 2, 3, 5, 7, 11):
        for at in range(0, len(stream), step):
            parrot.say(stream[at : at + step])
        assert parrot.response().number(0x0900) == 0
    assert stored(station) == [b"abcd"] * 6


def test_an_object_larger_than_the_block(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    data = bytes(1000) + DATA * 1500
    parrot.say(p_data(pdv(1, store_command(), command=True)))
    for at in range(0, len(data), 100_000):
        piece = data[at : at + 100_000]
        parrot.say(p_data(pdv(1, piece, last=at + 100_000 >= len(data))))
    assert parrot.response().number(0x0900) == 0
    assert stored(station) == [data]


def test_a_data_set_of_no_bytes_reaches_the_spool(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    station.spool.answer = Outcome(Status.CANNOT_UNDERSTAND, "the data set is empty")
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, b"")))
    answer = parrot.response()
    assert answer.number(0x0900) == 0xC000
    assert answer.text(0x0902) == "the data set is empty"
    assert stored(station) == [b""]
    assert station.scp.snapshot()[0].failures == 1


def test_move_originator_and_priority_are_taken(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    command = store_command(e0700=dimse.us(1), e1030=b"MOVER ", e1031=dimse.us(5))
    parrot.say(p_data(pdv(1, command, command=True), pdv(1, DATA)))
    assert parrot.response().number(0x0900) == 0


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (store_command(sop_class="1.2.840.10008.5.1.4.1.1.4"), 0x0122),
        (store_command(e0100=dimse.us(0x0020)), 0x0211),
        (store_command(e0100=dimse.us(0x7777)), 0x0211),
    ],
)
def test_a_refused_request_leaves_the_association_usable(
    station: Station, parrot: Parrot, command: bytes, status: int
) -> None:
    parrot.associate()
    parrot.say(p_data(pdv(1, command, command=True), pdv(1, DATA)))
    assert parrot.response().number(0x0900) == status
    assert stored(station) == []
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, DATA)))
    assert parrot.response().number(0x0900) == 0
    assert stored(station) == [DATA]


def test_a_store_without_data_set_is_refused(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    parrot.say(p_data(pdv(1, store_command(e0800=dimse.us(0x0101)), command=True)))
    assert parrot.response().number(0x0900) == 0xC000


def test_missing_uids_are_the_spools_to_judge(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    command = store_command(e1000=b"absent", e0002=b"absent")
    parrot.say(p_data(pdv(1, command, command=True), pdv(1, DATA)))
    assert parrot.response().number(0x0900) == 0
    (item,) = station.spool.stored
    assert item.arrival.sop_instance_uid == ""


def test_a_cancel_gets_no_answer(station: Station, parrot: Parrot) -> None:
    parrot.associate(request([("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]))
    cancel = {0x0100: dimse.us(0x0FFF), 0x0120: dimse.us(1), 0x0800: dimse.us(0x0101)}
    echo = {0x0100: dimse.us(0x0030), 0x0110: dimse.us(2), 0x0800: dimse.us(0x0101)}
    parrot.say(p_data(pdv(1, dimse.encode(cancel), command=True)))
    parrot.say(p_data(pdv(1, dimse.encode(echo), command=True)))
    assert parrot.response().field == 0x8030


def test_success_leaves_only_after_commit(station: Station, parrot: Parrot) -> None:
    hold = threading.Event()
    station.spool.before_commit = lambda: (hold.wait(10), None)[1]
    parrot.associate()
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, DATA)))
    parrot.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        parrot.sock.recv(1)
    hold.set()
    parrot.sock.settimeout(10)
    assert parrot.response().number(0x0900) == 0


def test_128_contexts(station: Station, parrot: Parrot) -> None:
    classes = [f"1.2.840.10008.5.1.4.1.1.{9000 + i}" for i in range(128)]
    accept = parrot.associate(request([(c, ["1.2.840.10008.1.2"]) for c in classes]))
    assert [context.result for context in accept.contexts] == [0] * 128
    assert [context.id for context in accept.contexts] == list(range(1, 256, 2))
    parrot.say(p_data(pdv(255, store_command(sop_class=classes[-1]), command=True)))
    parrot.say(p_data(pdv(255, DATA)))
    assert parrot.response().number(0x0900) == 0


def test_association_limits(stations: Callable[..., Station]) -> None:
    station = stations(settings={"max_associations": 2})
    first, second, third = (Parrot(station.port) for _ in range(3))
    first.associate()
    second.associate()
    third.say(pdu.encode_request(request()))
    assert third.hear() == (3, bytes((0, 2, 3, 2)))
    assert station.scp.active == 2
    reason = station.records()[-1].reason
    assert "dicom.max-associations" in reason
    first.release()
    wait_until(lambda: station.scp.active == 1)
    fourth = Parrot(station.port)
    fourth.associate()
    for parrot in (second, third, fourth):
        parrot.close()


def test_limit_per_peer(stations: Callable[..., Station]) -> None:
    station = stations(limits=Limits(peer_associations=1, linger_seconds=0.2))
    first, second = Parrot(station.port), Parrot(station.port)
    first.associate()
    second.say(pdu.encode_request(request()))
    assert second.hear() == (3, bytes((0, 2, 3, 2)))
    assert "127.0.0.1 has 1" in station.records()[-1].reason
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        ({"called": "NOPE"}, (1, 1, 7)),
        ({"calling": "NOPE"}, (1, 1, 3)),
        ({"protocol_version": 4}, (1, 2, 2)),
        ({"application_context": "1.2.3"}, (1, 1, 2)),
    ],
)
def test_rejections_on_the_wire_and_in_the_records(
    station: Station, parrot: Parrot, wanted: dict[str, str], codes: tuple[int, int, int]
) -> None:
    parrot.say(pdu.encode_request(request(**wanted)))  # type: ignore[arg-type]
    assert parrot.hear() == (3, bytes((0, *codes)))
    assert parrot.hear() is None
    (record,) = station.records()
    assert record.state == "REJECTED"
    assert record.reason


def test_wrong_host_on_the_wire(stations: Callable[..., Station]) -> None:
    config = {
        "applications": [{"ae-title": "AI"}],
        "sources": [{"ae-title": "CT1", "hosts": ["10.0.0.0/8", "203.0.113.9"]}],
    }
    station = stations(config=config)
    parrot = Parrot(station.port)
    parrot.say(pdu.encode_request(request()))
    assert parrot.hear() == (3, bytes((0, 1, 1, 3)))
    assert "calls from 127.0.0.1, but its hosts are 10.0.0.0/8" in station.records()[0].reason
    parrot.close()


def test_an_implied_called_ae_echoes_and_stores_nothing(station: Station, parrot: Parrot) -> None:
    wanted = [("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]
    wanted.append(("1.2.840.10008.5.1.4.1.1.2", ["1.2.840.10008.1.2"]))
    accept = parrot.associate(request(wanted, called="GATEWAY", calling="PACS"))
    assert [context.result for context in accept.contexts] == [0, 3]


def test_the_configuration_in_force_decides(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    folder = station.root / "ae"
    text = (folder / "test.yaml").read_text().replace("ae-title: AI2", "ae-title: NEW")
    (folder / "test.yaml").write_text(text)
    assert station.ae_config.reload()
    later = Parrot(station.port)
    later.associate(request(called="NEW"))
    later.release()
    parrot.release()


def test_stopping_lets_associations_finish(stations: Callable[..., Station]) -> None:
    station = stations(limits=Limits(linger_seconds=0.2))
    parrot = Parrot(station.port)
    parrot.associate()
    stopper = threading.Thread(target=station.scp.stop, args=(20,))
    stopper.start()
    time.sleep(0.2)
    with pytest.raises(OSError, match="refused"):
        Parrot(station.port)
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, DATA)))
    assert parrot.response().number(0x0900) == 0
    parrot.release()
    stopper.join(5)
    assert not stopper.is_alive()
    assert station.records()[0].state == "RELEASED"


def test_stopping_aborts_what_does_not_finish(stations: Callable[..., Station]) -> None:
    station = stations(limits=Limits(linger_seconds=0.2))
    parrot = Parrot(station.port)
    parrot.associate()
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, DATA, last=False)))
    wait_until(lambda: station.scp.snapshot()[0].bytes > 0)
    station.scp.stop(0.1)
    assert parrot.hear() == (7, bytes(4))
    (record,) = station.records()
    assert record.state == "ABORTED"
    assert record.reason == "the gateway is stopping in the middle of a message"
    assert len(station.spool.aborted) == 1
    parrot.close()


def test_three_associations_at_once(station: Station) -> None:
    def send(number: int) -> None:
        parrot = Parrot(station.port)
        parrot.associate(request(called="AI" if number % 2 else "AI2"))
        for i in range(20):
            command = store_command(f"1.2.{number}.{i}")
            parrot.say(p_data(pdv(1, command, command=True), pdv(1, DATA, last=False)))
            parrot.say(p_data(pdv(1, bytes((number, i)))))
            assert parrot.response().number(0x0900) == 0
        parrot.release()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = {item.arrival.sop_instance_uid: item.data for item in station.spool.stored}
    assert got == {f"1.2.{n}.{i}": DATA + bytes((n, i)) for n in range(3) for i in range(20)}


def test_idle_associations_end(stations: Callable[..., Station]) -> None:
    station = stations(limits=Limits(idle_seconds=0.4, linger_seconds=0.2))
    parrot = Parrot(station.port)
    parrot.associate()
    assert parrot.hear() == (7, bytes(4))
    wait_until(lambda: station.records()[0].state == "ABORTED")
    assert station.records()[0].reason == "the peer was silent or too slow"
    parrot.close()


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_sender_that_waits_for_acknowledgements_costs_no_delays(parrot: Parrot) -> None:
    """Nagle's algorithm at the sender (DCMTK as shipped) and our held-back acknowledgement."""
    parrot.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    parrot.associate()
    ticks = []
    for number in range(20):
        data = bytes(30_000)
        command = store_command(f"1.2.3.{number}")
        parrot.say(p_data(pdv(1, command, command=True)))
        for at in range(0, len(data), 10_000):
            last = at + 10_000 >= len(data)
            parrot.say(p_data(pdv(1, data[at : at + 10_000], last=last)))
        assert parrot.response().number(0x0900) is not None
        ticks.append(time.perf_counter())
    # Some may be late for other reasons, on a busy machine; without the acknowledgement all are.
    assert min(b - a for a, b in itertools.pairwise(ticks)) < 0.02
