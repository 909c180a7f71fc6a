"""Integration's settings, each by environment as ``HILUM_INTEGRATION__NAME``; peers stand in the site file."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HILUM_INTEGRATION__", frozen=True, extra="forbid")

    organisation: str = Field("", description="who answers for the results in FHIR; empty: the site's name")
    calling_ae_title: str = Field("HILUM", pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$")
    render_seconds: float = Field(60, gt=0, le=3600, description="a rendering that takes longer is ended")
    worker_memory_mib: int = Field(2048, ge=256, le=1_048_576, description="the rendering process' own memory at most")
    max_staleness_seconds: float = Field(
        5, gt=0, le=3600, description="a case state older than this raises no priority"
    )
