"""Ledger and workflow count orders each by itself; they must agree on an order that several fillers take."""

import asyncio
from pathlib import Path

import grpc

from hilum.api.worklist.v1.worklist_pb2 import ListCasesRequest, ReconcileRequest
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.embedded import Options, running
from hilum.simulator.hl7_feed import Hl7Feed


def order(control_id: str, filler: str, minute: int) -> bytes:
    return (
        f"MSH|^~\\&|RIS|RIVERSIDE|HILUM||20261121{minute:04d}||ORM^O01|{control_id}|P|2.5.1\r"
        "PID|1||MRN1^^^HOSP^MR||Doe^Ann||19700101|F\r"
        f"ORC|NW|P1^HIS|{filler}||SC\r"
        f"OBR|1|P1^HIS|{filler}|71045^Chest^L||||||||||||||||||||DX\r"
    ).encode()


async def test_reconcile_holds_for_one_placer_order_with_two_filler_orders(tmp_path: Path) -> None:
    services = ("ingest", "workflow", "ledger", "oversight")
    told = Options(state=tmp_path, mllp_port=0, grpc_port=0, http_port=0, services=services)
    async with running(told) as system:
        feed = Hl7Feed("127.0.0.1", system.mllp_port)
        for minute, filler in enumerate(("", "F1^RIS", "F2^RIS", "")):
            assert (await feed.send(f"T{minute}", order(f"T{minute}", filler, minute))).accepted
        await feed.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{system.ledger_grpc_port}") as channel:
            stub = LedgerServiceStub(channel)
            for _ in range(50):
                cases = await stub.ListCases(ListCasesRequest(), timeout=5)
                verdict = await stub.Reconcile(ReconcileRequest(), timeout=5)
                if len({entry.case_id for entry in cases.entries}) == 2 and verdict.adds_up:
                    break
                await asyncio.sleep(0.1)
    assert len({entry.case_id for entry in cases.entries}) == 2
    assert [f"{check.name}: {check.detail}" for check in verdict.checks if not check.holds] == []
