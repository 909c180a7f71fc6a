"""Oversight's use cases: bring the policies up to date at start; a person's decision."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from hilum.oversight import domain
from hilum.oversight.domain import Package, Policy, State, Versions, Wish
from hilum.oversight.ports import PolicyLog, Registry


async def bring_up_to_date(
    log: PolicyLog, registry: Registry, installed: Sequence[Package], wanted: dict[str, Wish], now: datetime
) -> tuple[Sequence[Policy], list[Package]]:
    """Register what is installed and write the policies that follow; what was written, and what was refused."""
    registered = await registry.register(installed, now)
    current = await log.current()
    drafts = domain.drafts(installed, registered, wanted, await registry.last_wishes(), current)
    written = await log.write(drafts, _last(current.values()), now)
    await registry.keep_wishes(wanted)
    return written, domain.changed(installed, registered)


async def set_state(
    log: PolicyLog,
    installed: Sequence[Package],
    registered: Versions,
    name: str,
    state: State,
    reason: str,
    now: datetime,
) -> Policy:
    """A person's decision; raises `Rejected` as `domain.by_a_person` does."""
    current = await log.current()
    digests = {(package.name, package.version): package.digest for package in installed}
    draft = domain.by_a_person(name, state, reason, current, registered, digests)
    (policy,) = await log.write([draft], _last(current.values()), now)
    return policy


def _last(policies: Iterable[Policy]) -> int:
    return max((policy.revision for policy in policies), default=0)
