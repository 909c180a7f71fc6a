"""Oversight's settings: HILUM_OVERSIGHT__… in the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HILUM_OVERSIGHT__", frozen=True, extra="forbid")

    state_folder: Path = Path("hilum-data")
    """Holds ``state/oversight.key``, the private key that signs policies (mode 0600; made at the first start)."""
    grpc_host: str = "127.0.0.1"
    grpc_port: Annotated[int, Field(ge=0, le=65535)] = 50054
