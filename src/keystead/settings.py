"""Settings, read once from the environment (`KEYSTEAD_...`) and a TOML file. Unsafe ones are refused."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)
from typing_extensions import override

from keystead.domain.brand import check_colour
from keystead.domain.destinations import is_loopback
from keystead.domain.events import MIN_RETENTION, RetentionPolicy
from keystead.domain.mail import check_sender, mail_server_of
from keystead.domain.product import KEYSTEAD, Product
from keystead.domain.scopes import ScopeCatalog
from keystead.domain.text import is_one_line, is_visible
from keystead.domain.token import check_prefix
from keystead.http.client import Network, parse_proxies
from keystead.operation.files import ConfigurationError, read_secrets, require_private

FILE_NAME: Final = "keystead.toml"
PREFIX: Final = "KEYSTEAD_"
CLIENT_NAMES: Final = frozenset(
    {"KEYSTEAD_TOKEN", "KEYSTEAD_TOKEN_FILE", "KEYSTEAD_SERVICE_TOKEN", "KEYSTEAD_URL"}
)
"""The variables that the command line and the integrations read as clients."""
FOREIGN_NAMES: Final = ("KEYSTEAD_TEST_", "KEYSTEAD_REQUIRE_ALL")
SECRETS: Final = frozenset({"peppers", "database", "migration_database", "smtp", "rate_limits"})
"""The settings that contain secrets, and so may be files in the folder `secrets`."""
MAX_PRODUCT_NAME: Final = 40
DATABASES: Final = ("sqlite:///", "postgresql://")
ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""The values of libpq's `sslmode` that rule out plain text."""
MEMORY: Final = "memory"
COUNTERS_WITH_TLS: Final = frozenset({"valkeys", "rediss"})
COUNTERS: Final = COUNTERS_WITH_TLS | {"valkey", "redis"}


def _listed(value: object, what: str) -> list[str]:
    """Return the parts of `a, b`, as in the environment, or of a list, as in TOML."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple | set | frozenset):
        raise ValueError(f"must be a list of {what}")  # noqa: TRY004 - pydantic reports ValueError
    return [str(part).strip() for part in parts]


def _networks(value: object) -> tuple[Network, ...]:
    return parse_proxies(_listed(value, "networks such as 10.0.0.0/8"))


def _origins(value: object) -> tuple[str, ...]:
    origins = _listed(value, "origins such as https://app.example.com")
    return tuple(str(_origin(part)) for part in origins)


def _ports(value: object) -> frozenset[int]:
    ports = frozenset(map(int, _listed(value, "ports such as 8443")))
    if not all(1 <= port <= 65535 for port in ports):
        raise ValueError("a port is a number from 1 to 65535")
    return ports


def _catalogued(scopes: dict[str, str]) -> dict[str, str]:
    ScopeCatalog(scopes)
    return scopes


def _mail_server(url: SecretStr | None) -> SecretStr | None:
    if url is not None:
        mail_server_of(url.get_secret_value())
    return url


def _sender(address: str | None) -> str | None:
    return address and check_sender(address)


def _supported(url: str | None) -> str | None:
    if url is not None and not url.startswith(DATABASES):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if url is not None and (url.endswith(":///") or ":memory:" in url):
        raise ValueError("needs a file: a database in memory is lost with its process")
    return url


def _counters(where: str | None) -> str | None:
    if where is None or where == MEMORY:
        return where
    parts = urlsplit(where)
    if parts.scheme not in COUNTERS or not parts.hostname:
        raise ValueError("must be memory, or a URL such as valkey://127.0.0.1:6379")
    if parts.scheme not in COUNTERS_WITH_TLS and parts.password and not is_loopback(parts.hostname):
        raise ValueError("must be valkeys:// if a password is sent over the network")
    return where


def _origin(url: str | None) -> str | None:
    """Return `url` if it is a safe origin: https, or http on this machine."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute URL such as https://keys.example.com")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must have no path, query, fragment or user")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https: tokens sent over plain http can be intercepted")
    return url.rstrip("/")


def _page(url: str | None) -> str | None:
    """Return `url` if it is an absolute web address."""
    parts = None if url is None else urlsplit(url)
    if parts and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("must be an absolute URL such as https://example.com/docs")
    return url


def _product_name(name: str) -> str:
    if len(name.strip()) > MAX_PRODUCT_NAME or not is_visible(name) or not is_one_line(name):
        raise ValueError(f"must be 1 to {MAX_PRODUCT_NAME} characters on one line")
    return name.strip()


def goes_plain(url: str) -> bool:
    """Return whether a PostgreSQL URL leads to another machine and permits connections without TLS.

    libpq's default, `prefer`, falls back to plain text if an attacker on the network denies TLS.
    """
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return False
    query = dict(parse_qsl(parts.query))
    if query.get("sslmode") in ENCRYPTED:
        return False
    lists = parts.netloc.rpartition("@")[2], query.get("host", ""), query.get("hostaddr", "")
    hosts = [unquote(host) for listed in lists for host in listed.split(",") if host]
    # Without a host, libpq takes it from its environment variables, else a Unix socket.
    hosts = hosts or [os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST") or "/"]
    return "service" in query or not all(
        host.startswith("/") or _is_local_host(host) for host in hosts
    )


_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]*)?")


def _is_local_host(host: str) -> bool:
    """Return whether `host`, with or without a port, is this machine."""
    address = _BRACKETED.fullmatch(host)
    if address is not None:
        return is_loopback(address[1])
    return is_loopback(host) or is_loopback(host.rpartition(":")[0])


class Features(BaseModel):
    """Parts of Keystead that a product may do without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collections: bool = True


class _SecretFiles(PydanticBaseSettingsSource):
    """The files of the folder `secrets`, as Kubernetes, containers and systemd hand secrets over."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # all fields are read together

    @override
    def __call__(self) -> dict[str, Any]:
        folder = self.current_state.get("secrets")
        return {} if folder is None else read_secrets(Path(folder), SECRETS)


class Settings(BaseSettings):
    """The settings of an installation. Each field is `KEYSTEAD_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data: Path = Field(Path("data"), description="Folder for the embedded database and the pepper")
    database: Annotated[str | None, AfterValidator(_supported)] = Field(
        None, repr=False, description="Database URL; the default is SQLite in `data`"
    )
    verification: Literal["read", "stamp"] | None = Field(
        None,
        description="`read`: each verification reads the database; `stamp`: servers on SQLite use a cache while "
        "nothing has changed. The default is `stamp` on SQLite, `read` on PostgreSQL",
    )
    allow_plain_database: bool = Field(
        False, description="Permit connections without TLS to a PostgreSQL on another machine"
    )
    migration_database: Annotated[str | None, AfterValidator(_supported)] = Field(
        None, repr=False, description="Database URL of the tables' owner, for `keystead migrate`"
    )
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 for any free one")
    workers: int = Field(1, ge=1, le=256, description="Server processes")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of /metrics; off if unset"
    )
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics")
    public_url: Annotated[str | None, AfterValidator(_origin)] = Field(
        None, description="URL at which users and programs reach this server"
    )
    plans_url: Annotated[str | None, AfterValidator(_page)] = Field(
        None, description="Page on which customers change their plan"
    )
    docs_url: Annotated[str | None, AfterValidator(_page)] = Field(
        None, description="The product's documentation"
    )
    product_url: Annotated[str | None, AfterValidator(_page)] = Field(
        None, description="Page of the product that the Developer area links back to"
    )
    product_name: Annotated[str, AfterValidator(_product_name)] = Field(
        KEYSTEAD, description="Name of the product, in whose name everything speaks"
    )
    powered_by: bool = Field(
        True, description="With a `product_name`: say at the foot of pages what runs them"
    )
    logo: Path | None = Field(
        None, description="The product's logo, an SVG or PNG of at most 64 KiB"
    )
    accent: Annotated[str, AfterValidator(check_colour)] | None = Field(
        None, description="Color of buttons and links, such as #4f46e5"
    )
    accent_dark: Annotated[str, AfterValidator(check_colour)] | None = Field(
        None, description="The same on a dark background; derived from `accent` if unset"
    )
    token_prefix: Annotated[str, AfterValidator(check_prefix)] = Field(
        "ks", description="Prefix of new tokens"
    )
    scopes: Annotated[dict[str, str], AfterValidator(_catalogued)] = Field(
        default_factory=dict, description="The product's own scopes: name -> description"
    )
    features: Features = Field(
        Features(), description="`collections = false` hides the document store everywhere"
    )
    portal_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (), description="Origins of the product to which portal users may be redirected"
    )
    renewal_overlap_seconds: int = Field(
        3600,
        ge=0,
        le=604_800,
        description="Seconds that a key which renewed itself works after the first use of its successor",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), description="Networks whose X-Forwarded-* headers are trusted"
    )
    webhook_delivery: bool = Field(
        True, description="Deliver webhooks in the server; otherwise run `keystead worker`"
    )
    webhook_private_networks: Annotated[
        tuple[Network, ...], NoDecode, BeforeValidator(_networks)
    ] = Field((), description="Private networks to which webhooks may be sent")
    webhook_ports: Annotated[frozenset[int], NoDecode, BeforeValidator(_ports)] = Field(
        frozenset(), description="Ports to which webhooks may be sent, in addition to 443 and 8443"
    )
    webhook_allow_http: bool = Field(False, description="Permit webhooks without TLS (and port 80)")
    webhook_lease_seconds: int = Field(
        10,
        ge=1,
        le=600,
        description="Seconds after which another worker takes over the deliveries of a killed one",
    )
    webhook_ca: Path | None = Field(
        None,
        description="Certificates (PEM) to trust for receivers, in addition to the public ones",
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM)")
    tls_key: Path | None = Field(None, description="Private key (PEM, PKCS#8)")
    secrets: Path | None = Field(
        None, description="Folder of files with secrets, each named for the setting in it"
    )
    peppers: SecretStr | None = Field(
        None,
        description="`id:base64` entries separated by commas, the current first; default: a file in `data`",
    )
    smtp: Annotated[SecretStr | None, AfterValidator(_mail_server)] = Field(
        None,
        description="Mail server, smtp://user:password@host:587; without one, files in `data`/mail on SQLite",
    )
    mail_from: Annotated[str | None, AfterValidator(_sender)] = Field(
        None, description="Sender of mail, such as keys@example.com"
    )
    keep_events_days: int = Field(400, ge=0, description="Days to keep events; 0: forever")
    keep_deliveries_days: int = Field(
        90, ge=0, description="Days to keep webhook deliveries; 0: forever"
    )
    keep_use_days: int = Field(
        400, ge=0, description="Days to keep the daily use of keys; 0: forever"
    )
    keep_callers_days: int = Field(
        90, ge=0, description="Days to keep the callers of keys; 0: forever"
    )
    rate_limits: Annotated[str | None, AfterValidator(_counters)] = Field(
        None,
        repr=False,
        description="Counters of rate limits: `memory` for one process, or valkey://host:6379. Unset: no rate limits",
    )
    rate_limits_when_away: Literal["allow", "refuse"] = Field(
        "allow", description="What to do with requests while the counters are unavailable"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log level")

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Arguments first, then the environment, then `keystead.toml` in the working folder.
        file = TomlConfigSettingsSource(settings_cls, Path(FILE_NAME))
        return init_settings, env_settings, file, _SecretFiles(settings_cls)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.migration_database is not None and self.is_embedded:
            raise ValueError(
                "migration_database needs a PostgreSQL in database, with the servers' own login"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.verification == "stamp" and not self.is_embedded:
            raise ValueError("`verification = stamp` needs SQLite: on PostgreSQL use `read`")
        if self.smtp is not None and self.mail_from is None:
            raise ValueError("smtp needs mail_from, the sender's address")
        for name, days in self._retention_days().items():
            if 0 < days < MIN_RETENTION.days:
                raise ValueError(
                    f"{name} must be at least {MIN_RETENTION.days}: pages show a month"
                )
        if self.metrics_port and (self.metrics_port, self.metrics_host) == (self.port, self.host):
            raise ValueError("metrics_port must not be the port of the server")
        return self

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        for name in ("database", "migration_database"):
            url = getattr(self, name)
            if url and not self.allow_plain_database and goes_plain(url):
                raise ValueError(
                    f"{name} is on another machine and may be reached without TLS: add ?sslmode=verify-full (with"
                    " sslrootcert) or at least sslmode=require to its URL, or set allow_plain_database = true"
                )
        return self

    @model_validator(mode="after")
    def _counted_once(self) -> Self:
        if self.rate_limits == MEMORY and self.workers > 1:
            raise ValueError(
                "rate_limits = memory counts within one process: with more workers use a Valkey"
            )
        return self

    @property
    def catalog(self) -> ScopeCatalog:
        """Return the scopes that keys may be given."""
        return ScopeCatalog(self.scopes, self.features.collections)

    @property
    def product(self) -> Product:
        """Return the product in whose name the server speaks."""
        return Product(self.product_name, self.powered_by)

    @property
    def database_url(self) -> str:
        """Return the database: the one that is set, else the embedded one."""
        return self.database or f"sqlite:///{self.data / 'keystead.db'}"

    @property
    def retention(self) -> RetentionPolicy:
        """Return the retention policy."""
        days = self._retention_days().values()
        return RetentionPolicy(*(timedelta(days=number) if number else None for number in days))

    def _retention_days(self) -> dict[str, int]:
        return {
            "keep_events_days": self.keep_events_days,
            "keep_deliveries_days": self.keep_deliveries_days,
            "keep_use_days": self.keep_use_days,
            "keep_callers_days": self.keep_callers_days,
        }

    @property
    def is_embedded(self) -> bool:
        """Return whether the database is SQLite, in a file of this machine."""
        return self.database_url.startswith("sqlite:")

    @property
    def sends_mail(self) -> bool:
        """Return whether mail is sent: to the mail server, or into a folder if the database is embedded."""
        return self.smtp is not None or self.is_embedded

    @property
    def caches_verifications(self) -> bool:
        """Return whether verifications are cached while the generation file is unchanged."""
        return self.is_embedded and self.verification != "read"

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the server, with no proxy in front of it."""
        return is_loopback(self.host) and self.public_url is None and not self.trusted_proxies

    @property
    def base_url(self) -> str:
        """Return the server's public URL without a trailing slash; without one, the listening URL."""
        return self.public_url or self.listening_url

    @property
    def listening_url(self) -> str:
        """Return the URL at which the server listens, without a trailing slash."""
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


class _Given(Settings):
    """Settings of arguments alone."""

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def read_settings(**arguments: object) -> Settings:
    """Return the settings; `arguments` that are not None win over environment and file.

    Raises:
        ConfigurationError: all faults, in one line.
    """
    _refuse_unknown_names()
    _refuse_open_file(Path(FILE_NAME))
    return _checked({name: value for name, value in arguments.items() if value is not None})


def read_server_settings(**arguments: object) -> Settings:
    """Return the settings of a process that listens. Raises ConfigurationError for an unsafe address too."""
    settings = read_settings(**arguments)
    if not (is_loopback(settings.host) or settings.tls_cert or settings.trusted_proxies):
        raise ConfigurationError(
            f"listening on {settings.host} needs tls_cert and tls_key, or trusted_proxies "
            "with the network of the proxy that terminates TLS"
        )
    return settings


def settings_of(**arguments: object) -> Settings:
    """Return the settings of `arguments` alone, without environment and file. Raises ConfigurationError."""
    return _checked(arguments, _Given)


def settings_elsewhere(settings: Settings, database: str) -> Settings:
    """Return the same settings with another database. Raises ConfigurationError like `read_settings`."""
    own = {"database": database, "migration_database": None, "verification": None}
    return _checked(settings.model_dump() | own)


def _checked(values: dict[str, Any], kind: type[Settings] = Settings) -> Settings:
    try:
        return kind(**values)
    except ValidationError as error:
        lines = [_message(each["loc"], each["msg"], each["type"]) for each in error.errors()]
        raise ConfigurationError("; ".join(lines)) from None
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{FILE_NAME} is not TOML: {error}") from None


def export(arguments: dict[str, object]) -> None:
    """Put `arguments` that are not None into the environment, for the server's processes to read."""
    for name, value in arguments.items():
        if value is not None:
            listed = value if isinstance(value, list | tuple) else [value]
            os.environ[PREFIX + name.upper()] = ",".join(map(str, listed))


def _message(place: tuple[int | str, ...], message: str, kind: str) -> str:
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return f"{FILE_NAME}: there is no setting {name}{_nearest(name)}"
    text = message.removeprefix("Value error, ")
    return f"{name}: {text}" if name else text


def _refuse_unknown_names() -> None:
    # Otherwise a misspelled setting would silently have no effect.
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_NAMES
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not name.startswith(FOREIGN_NAMES):
            setting = name.removeprefix(PREFIX).lower()
            raise ConfigurationError(f"there is no setting {name}{_nearest(setting)}")


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; the nearest is {near[0]}" if near else ""


def _refuse_open_file(path: Path) -> None:
    """Raise ConfigurationError if a settings file with secrets is not private."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return
    secret = content.keys() & (SECRETS - {"rate_limits"})
    if secret or "@" in str(content.get("rate_limits", "")):
        require_private(path, "With secrets in it, the settings file")
