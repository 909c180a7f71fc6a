"""What an operator tells us of the Kafka cluster. Secrets are named by file and read anew at every connection."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, StringConstraints, model_validator

from hilum.contracts import topics as catalogue

_Address = Annotated[str, StringConstraints(pattern=r"^[^\s:/]+:[0-9]{1,5}$")]
_DAYS: Mapping[str, int] = MappingProxyType({catalogue.MESSAGES.name: 30, catalogue.DEAD_LETTERS.name: 90})
_OTHER_DAYS = 14


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Settings):
    """The connection is encrypted and the broker proves who it is; with a certificate, so do we (mutual TLS)."""

    ca_file: FilePath | None = Field(
        None, description="who signs for the brokers; none given: the system's authorities"
    )
    certificate_file: FilePath | None = None
    key_file: FilePath | None = None
    key_password_file: FilePath | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together")
        if self.key_password_file is not None and self.key_file is None:
            raise ValueError("key_password_file is of no use without key_file")
        return self

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file is not None:
            password = self.key_password_file.read_text("utf-8").strip() if self.key_password_file else None
            context.load_cert_chain(self.certificate_file, self.key_file, password)
        return context


class Sasl(_Settings):
    """A name and a password."""

    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    username: str = Field(min_length=1)
    password_file: FilePath


class KafkaSettings(_Settings):
    brokers: tuple[_Address, ...] = Field(
        min_length=1, description="some of the cluster, host:port; the first that answers names the others"
    )
    topic_prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,64}$", description="before every topic and group, where a cluster is shared"
    )
    tls: Tls | None = None
    sasl: Sasl | None = None
    zone: str | None = Field(None, description="where we run: the replica in the same zone (broker.rack) is read")
    one_broker: bool = Field(
        False, description="one replica suffices: for tests and figures, what is acknowledged dies with its disk"
    )
    zones_required: bool = Field(True, description="every broker says its zone, and the loss of no zone stops appends")
    append_seconds: float = Field(10.0, gt=0, le=300, description="how long an append may take")
    append_mebibytes: int = Field(64, ge=1, le=4096, description="how much may wait to be appended")
    retention_days: Mapping[str, int] = Field(
        default_factory=dict,
        description="by topic, where it is not the plan's; told to Kafka when a topic is made, later the operators'",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sasl is not None and self.sasl.mechanism == "PLAIN" and self.tls is None:
            raise ValueError("sasl PLAIN sends the password as it is: it needs tls")
        deleting = {topic.name for topic in catalogue.ALL if not topic.compacted}
        for name, days in self.retention_days.items():
            if name not in deleting or days < 1:
                raise ValueError(f"retention_days: {name} is no topic whose records are deleted, or less than a day")
        return self

    def days(self, topic: str) -> int:
        """How long the records of ``topic`` are kept."""
        return self.retention_days.get(topic, _DAYS.get(topic, _OTHER_DAYS))

    def connection(self) -> dict[str, Any]:
        """As the client library wants it."""
        tls, sasl = self.tls, self.sasl
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": "hilum",
            "security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": 30_000,
        }
        if tls is not None:
            options["ssl_context"] = tls.context()
        if sasl is not None:
            options["sasl_mechanism"] = sasl.mechanism
            options["sasl_plain_username"] = sasl.username
            options["sasl_plain_password"] = sasl.password_file.read_text("utf-8").strip()
        return options
