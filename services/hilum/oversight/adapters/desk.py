"""Where models are listed and set: by the running service, and by the command line on a state directory."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hilum.clock import Clock
from hilum.errors import Rejected
from hilum.eventlog.port import EventLog
from hilum.oversight import domain
from hilum.oversight.adapters import keys
from hilum.oversight.adapters.policy_log import SignedPolicies, current, only_writer
from hilum.oversight.app import set_state
from hilum.oversight.domain import Model, Package, Policy, State, Versions
from hilum.packages import ModelPackage


def key_file(state: Path) -> Path:
    return state / "state" / "oversight.key"


def lock_file(state: Path) -> Path:
    return state / "state" / "oversight.lock"


class Desk:
    """``registered`` is asked anew each time: what it says may have grown."""

    def __init__(
        self,
        state: Path,
        log: EventLog,
        clock: Clock,
        installed: Sequence[Package],
        registered: Callable[[], Awaitable[Versions]],
    ) -> None:
        self._state = state
        self._clock = clock
        self._installed = installed
        self._registered = registered
        self._log = log

    async def models(self) -> list[Model]:
        return domain.models(self._installed, await self._registered(), await current(self._log))

    async def set_state(self, name: str, state: str, reason: str) -> Policy:
        """Raises `Rejected`: `state_unknown`, and what `domain.by_a_person` raises."""
        try:
            wanted = State(state)
        except ValueError as error:
            raise Rejected("state_unknown", f"a state is one of {', '.join(State)}") from error
        policies = SignedPolicies(self._log, keys.load_or_make(key_file(self._state)))
        async with only_writer(lock_file(self._state)):
            registered = await self._registered()
            return await set_state(policies, self._installed, registered, name, wanted, reason, self._clock.now())


def package_of(package: ModelPackage) -> Package:
    return Package(package.name, package.version, package.digest, package.title, package.use.value)


def document(model: Model) -> dict[str, Any]:
    """As JSON; the shape is that of hilum.api.oversight.v1.ModelView."""
    policy = model.policy
    at = policy.at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if policy is not None else ""
    return {
        "name": model.package.name,
        "version": model.package.version,
        "title": model.package.title,
        "use": model.package.use,
        "digest": model.package.digest,
        "state": model.state.value,
        "revision": policy.revision if policy is not None else 0,
        "reason": policy.reason if policy is not None else "",
        "at": at,
        "alarm": model.alarm,
    }
