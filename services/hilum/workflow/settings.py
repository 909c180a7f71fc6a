"""Workflow's own settings; what concerns the hospital is in the site file."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment: ``HILUM_WORKFLOW__…``."""

    model_config = SettingsConfigDict(env_prefix="HILUM_WORKFLOW__", frozen=True, extra="forbid")

    decisions_at_once: int = Field(32, ge=1, le=1000, description="cases decided in one transaction")
    look_seconds: float = Field(1.0, gt=0, le=60, description="the longest sleep while a case waits for its time")
