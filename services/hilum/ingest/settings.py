"""Ingest's own settings; who sends and how is in the site file."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment: ``HILUM_INGEST__…``."""

    model_config = SettingsConfigDict(
        env_prefix="HILUM_INGEST__", frozen=True, extra="forbid", env_parse_none_str="none"
    )

    mllp_host: str = "127.0.0.1"
    mllp_port: int = Field(2575, ge=0, le=65535, description="0 binds a free port")
    grpc_host: str = "127.0.0.1"
    grpc_port: int | None = Field(50051, ge=0, le=65535, description="0 binds a free port, none opens no gRPC door")
    message_bytes: int = Field(16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="largest message")
    connections: int = Field(256, ge=1, le=10_000, description="MLLP connections at once; more are closed at once")
    idle_seconds: float = Field(600, gt=0, le=86_400, description="a connection that is silent so long is closed")
    write_seconds: float = Field(30, gt=0, le=3600, description="a peer that does not read answers so long is dropped")
    stray_bytes: int = Field(65_536, ge=0, description="so many bytes outside any block: not MLLP, closed")
    calls: int = Field(256, ge=1, le=10_000, description="gRPC calls at once; more get RESOURCE_EXHAUSTED")
    drain_seconds: float = Field(10, ge=0, le=600, description="messages in hand get so long at the end")
    remember_days: int = Field(30, ge=1, le=3650, description="how long a repeated message is known as such")
    application: str = Field("HILUM", min_length=1, max_length=180, description="our MSH-3; what bears it is ours")
