"""Between the contracts and the domain: tasks in, results out."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.orders.v1 import orders_pb2
from hilum.contracts.tasks.v1 import tasks_pb2
from hilum.errors import Rejected
from hilum.inference.app import Outcome
from hilum.inference.domain import EngineSpec, Finding, Input, OperatingPoint, Task, Urgency
from hilum.inference.ports import ModelKey
from hilum.packages import Code, ModelPackage

Codes = Mapping[ModelKey, Mapping[str, Code]]


def engine_spec(package: ModelPackage) -> EngineSpec:
    """What a worker needs of a package."""
    engine, preprocessing = package.engine, package.preprocessing
    return EngineSpec(
        name=package.name,
        version=package.version,
        digest=package.digest,
        path=str(package.engine_path.resolve()),
        sha256=engine.sha256,
        input=engine.input,
        probability=engine.outputs.probability,
        activation=engine.outputs.activation,
        rows=preprocessing.rows,
        columns=preprocessing.columns,
        fit="pad" if preprocessing.fit == "pad" else "stretch",
        mean=preprocessing.mean,
        std=preprocessing.std,
        points=tuple(
            OperatingPoint(
                finding.id,
                finding.index,
                finding.threshold,
                finding.threshold if finding.absent_below is None else finding.absent_below,
            )
            for finding in package.findings
        ),
    )


def codes_of(packages: Iterable[ModelPackage]) -> Codes:
    """Each package's finding codes."""
    return {
        ModelKey(package.name, package.version): {finding.id: finding.code for finding in package.findings}
        for package in packages
    }


def task_of(message: tasks_pb2.Task) -> Task:
    """The task of an event; Rejected ``task_invalid`` names what it lacks."""
    lacking = [
        name for name in ("task_id", "case_id", "algorithm", "algorithm_version") if not getattr(message, name).strip()
    ]
    if message.urgency.upper() not in Urgency.__members__:
        lacking.append("urgency")
    if lacking:
        raise Rejected("task_invalid", f"the task lacks {', '.join(lacking)}")
    return Task(
        task_id=message.task_id,
        case_id=message.case_id,
        site=message.site,
        study_instance_uid=message.study_instance_uid,
        algorithm=message.algorithm,
        algorithm_version=message.algorithm_version,
        package_digest=message.package_digest,
        policy_revision=message.policy_revision,
        revision=message.revision,
        urgency=Urgency[message.urgency.upper()],
        created_at=_time(message.created_at),
        due_at=_time(message.due_at) if message.HasField("due_at") else None,
        inputs=tuple(
            Input(one.sop_instance_uid, one.sop_class_uid, one.series_instance_uid, one.object_key, one.sha256)
            for one in message.inputs
        ),
    )


def message_of(task: Task) -> tasks_pb2.Task:
    """The task as the queue keeps it."""
    return tasks_pb2.Task(
        task_id=task.task_id,
        case_id=task.case_id,
        site=task.site,
        study_instance_uid=task.study_instance_uid,
        algorithm=task.algorithm,
        algorithm_version=task.algorithm_version,
        package_digest=task.package_digest,
        policy_revision=task.policy_revision,
        revision=task.revision,
        urgency=task.urgency.name.lower(),
        created_at=_stamp(task.created_at),
        due_at=_stamp(task.due_at) if task.due_at else None,
        inputs=[
            tasks_pb2.Input(
                sop_instance_uid=one.sop_instance_uid,
                sop_class_uid=one.sop_class_uid,
                series_instance_uid=one.series_instance_uid,
                object_key=one.object_key,
                sha256=one.sha256,
            )
            for one in task.inputs
        ],
    )


def result_of(outcome: Outcome, codes: Codes) -> findings_pb2.Result:
    """The result of an outcome: resulted with findings, or failed with its step."""
    task, failure = outcome.task, outcome.failure
    known = codes.get(ModelKey(task.algorithm, task.algorithm_version), {})
    return findings_pb2.Result(
        result_id=outcome.result_id,
        task_id=task.task_id,
        case_id=task.case_id,
        site=task.site,
        study_instance_uid=task.study_instance_uid,
        algorithm=task.algorithm,
        algorithm_version=task.algorithm_version,
        package_digest=task.package_digest,
        policy_revision=task.policy_revision,
        revision=task.revision,
        outcome="failed" if failure else "resulted",
        reason=f"failed:{failure.step}" if failure else "",
        findings=[_finding(finding, known) for finding in outcome.findings],
        inputs=[
            findings_pb2.SourceImage(
                sop_instance_uid=one.sop_instance_uid,
                sop_class_uid=one.sop_class_uid,
                series_instance_uid=one.series_instance_uid,
                object_key=one.object_key,
            )
            for one in task.inputs
        ],
        engine=outcome.engine,
        started_at=_stamp(outcome.started_at),
        ended_at=_stamp(outcome.ended_at),
    )


def _finding(finding: Finding, codes: Mapping[str, Code]) -> findings_pb2.Finding:
    code, box = codes[finding.finding], finding.box
    return findings_pb2.Finding(
        finding=finding.finding,
        code=orders_pb2.Code(code=code.code, display=code.display, system=code.system),
        state=finding.state.value,
        probability=finding.probability,
        threshold=finding.threshold,
        sop_instance_uid=finding.sop_instance_uid,
        box=findings_pb2.Box(row0=box.row0, column0=box.column0, row1=box.row1, column1=box.column1) if box else None,
        map_object_key=finding.map_object_key,
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
