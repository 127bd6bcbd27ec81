"""Settings: read once, from the environment (`KEYSTEAD_...`) and a TOML file; frozen; unsafe ones refuse to load."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keystead.domain.scopes import ScopeCatalog
from keystead.domain.token import check_prefix

FILE_NAME = "keystead.toml"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(BaseSettings):
    """How one installation runs. Every field is `KEYSTEAD_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="KEYSTEAD_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data: Path = Field(Path("data"), description="Folder for the embedded database and the pepper")
    database: str | None = Field(None, description="Database URL; the default is SQLite in `data`")
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on")
    workers: int = Field(1, ge=1, le=256, description="Server processes")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of /metrics; off if unset"
    )
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics")
    public_url: str | None = Field(None, description="Where people and code reach this server")
    plans_url: str | None = Field(None, description="Where customers change their plan")
    token_prefix: Annotated[str, AfterValidator(check_prefix)] = Field(
        "ks", description="Prefix of new tokens"
    )
    scopes: dict[str, str] = Field(
        default_factory=dict, description="The product's own scopes: name -> description"
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks whose X-Forwarded-* headers are believed"
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM)")
    tls_key: Path | None = Field(None, description="Private key (PEM, PKCS#8)")
    peppers: SecretStr | None = Field(
        None,
        description="`id:base64` entries parted by commas, the current first; else a file in `data`",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log level")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then `keystead.toml` in the working folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(FILE_NAME))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ScopeCatalog(self.scopes)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self

    @property
    def catalog(self) -> ScopeCatalog:
        """The scopes that keys may be given."""
        return ScopeCatalog(self.scopes)

    @property
    def database_url(self) -> str:
        """The database: the one that is set, else the embedded one."""
        return self.database or f"sqlite:///{self.data / 'keystead.db'}"

    @property
    def base_url(self) -> str:
        """Where people and code reach this server, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
