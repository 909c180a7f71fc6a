"""Imaging's own settings; what concerns the hospital is in the site file."""

from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

# PS3.5 6.2 AE: 1 to 16 characters, no backslash, not spaces alone.
AeTitle = Annotated[str, StringConstraints(pattern=r"^ *[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$", max_length=16)]
Uid = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)+$", max_length=64)]


class Settings(BaseSettings):
    """Environment: ``HILUM_IMAGING__…``."""

    model_config = SettingsConfigDict(env_prefix="HILUM_IMAGING__", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    dicom_port: int = Field(11112, ge=0, le=65535, description="0 takes a free one")
    ae_title: AeTitle = "HILUM"
    require_called_ae_title: bool = Field(False, description="on: callers must address this very AE title")
    calling_ae_titles: tuple[AeTitle, ...] = Field((), description="who may call; none given: anyone")
    additional_sop_classes: tuple[Uid, ...] = Field((), description="private storage SOP classes to accept")
    max_associations: int = Field(32, ge=1, le=1000)
    max_pdu_bytes: int = Field(131_072, ge=16_384, le=1_048_576, description="largest P-DATA-TF PDU that is received")
    max_data_set_bytes: int = Field(512 * 2**20, ge=2**20, description="largest data set of one instance")
    max_receiving_bytes: int = Field(2**30, ge=2**20, description="data sets being received, all associations together")
    idle_seconds: float = Field(60.0, gt=0, le=3600, description="silence after which an association is ended")
    association_seconds: float = Field(5.0, gt=0, le=300, description="until a connection must have asked for one")
    half_open: int = Field(256, ge=1, le=10_000, description="connections that have not asked for an association yet")
    half_open_per_peer: int = Field(64, ge=1, le=10_000, description="of these, from one address")
    answer_seconds: float = Field(60.0, gt=0, le=3600, description="until an instance is stored or answered A700H")
    drain_seconds: float = Field(10.0, ge=0, le=300, description="at the end, until associations are aborted")
