"""The ledger's settings: HILUM_LEDGER__… in the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="HILUM_LEDGER__", frozen=True, extra="forbid", env_parse_none_str="none"
    )

    grpc_host: str = "127.0.0.1"
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = 50053
    """0 binds a free port, none opens no gRPC door."""
    watch_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """How often overdue work is looked for."""
    in_hand_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """A running system may still have in hand what was heard of so recently: `reconcile` does not miss it yet."""
    undelivered_seconds: Annotated[float, Field(gt=0, le=604_800)] = 600.0
    """A delivery that is neither sent nor given up for so long raises an alarm."""
    own_applications: frozenset[str] = frozenset({"HILUM"})
    """MSH-3 of the messages that we send ourselves."""
