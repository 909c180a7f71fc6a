"""Inference's settings, each by environment as ``HILUM_INFERENCE__NAME``."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="HILUM_INFERENCE__", frozen=True, extra="forbid", env_parse_none_str="none"
    )

    grpc_host: str = "127.0.0.1"
    grpc_port: int | None = Field(50052, ge=0, le=65535, description="0 binds a free port, none opens no gRPC door")
    workers: int = Field(1, ge=1, le=64, description="worker processes; each holds every engine")
    threads: int = Field(1, ge=1, le=64, description="threads of one engine")
    worker_memory_mib: int = Field(2048, ge=256, le=1_048_576, description="a worker's own memory at most")
    task_seconds: float = Field(120, gt=0, le=3600, description="a worker that takes longer is ended")
    requests_waiting: int = Field(64, ge=0, le=10_000, description="requests that may wait for an engine")
    message_mib: int = Field(16, ge=1, le=1024, description="largest gRPC message")
    drain_seconds: float = Field(10, ge=0, le=600, description="requests in hand get so long at the end")
