"""Oversight wired: the packages are registered and the policies brought up to date, then it answers."""

import asyncio
import logging
from collections.abc import Callable

from opentelemetry import metrics

from hilum import packages
from hilum.errors import Rejected
from hilum.hosting import Platform
from hilum.oversight import domain
from hilum.oversight.adapters import keys
from hilum.oversight.adapters.desk import Desk, key_file, lock_file, package_of
from hilum.oversight.adapters.grpc_server import oversight_server
from hilum.oversight.adapters.policy_log import SignedPolicies, only_writer
from hilum.oversight.adapters.state import SqlRegistry
from hilum.oversight.adapters.tables import METADATA
from hilum.oversight.app import bring_up_to_date
from hilum.oversight.domain import Package, State, Wish
from hilum.oversight.settings import Settings
from hilum.site import Site

_LOG = logging.getLogger(__name__)
_REFUSED = metrics.get_meter("hilum").create_counter(
    "hilum.oversight.packages_refused", description="installed versions whose files are not those registered"
)


class OversightService:
    """Can we trust it, here, today?"""

    name = "oversight"

    def __init__(
        self, settings: Settings, platform: Platform, installed: list[Package], wanted: dict[str, Wish]
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._installed = installed
        self._wanted = wanted
        self.grpc_port = 0

    async def serve(self, ready: Callable[[], None]) -> None:
        platform, state = self._platform, self._settings.state_folder
        key = keys.load_or_make(key_file(state))
        store = platform.open_store(self.name, METADATA)
        try:
            registry = SqlRegistry(store)
            policies = SignedPolicies(platform.log, key)
            async with only_writer(lock_file(state)):
                written, refused = await bring_up_to_date(
                    policies, registry, self._installed, self._wanted, platform.clock.now()
                )
            for policy in written:
                _LOG.info("%s %s is %s (%s)", policy.algorithm, policy.version, policy.state, policy.reason)
            for package in refused:
                _LOG.error("%s %s: %s", package.name, package.version, domain.PACKAGE_CHANGED)
                _REFUSED.add(1, {"algorithm": package.name})
            desk = Desk(state, platform.log, platform.clock, self._installed, registry.versions)
            server = oversight_server(desk, f"{self._settings.grpc_host}:{self._settings.grpc_port}")
            self.grpc_port = server.port
            await server.start()
            try:
                ready()
                await asyncio.Event().wait()
            finally:
                await server.stop()
        finally:
            store.close()


def wanted_by(site: Site, installed: list[Package]) -> dict[str, Wish]:
    """Raises `Rejected` that names every algorithm of the site file that is not installed."""
    if site.algorithms is None:
        return domain.wishes(installed, None)
    names = [entry.name for entry in site.algorithms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Rejected("algorithm_twice", f"algorithms: listed twice: {', '.join(twice)}")
    listed = [(entry.name, entry.version, State(entry.state)) for entry in site.algorithms]
    return domain.wishes(installed, listed)


def build(settings: Settings, platform: Platform) -> OversightService:
    """Raises `Rejected` when a package does not hold, or the site file names one that is not installed."""
    installed = [package_of(package) for package in packages.load_all(platform.packages_folder)]
    return OversightService(settings, platform, installed, wanted_by(platform.site, installed))
