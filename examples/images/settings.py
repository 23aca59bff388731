"""
What can be set from outside: environment variables, typed and checked before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, ValidationError, field_validator


class SettingsError(Exception):
    """
    Something is set that cannot be used; the message names each variable, its value and what would do.
    """


class Settings(BaseModel):
    """
    All that the processes of this example can be told. Each field is an environment variable, its name in capitals.

    Attributes:
        database_url: Where the jobs and frames are; `postgresql://user@host:port/name`.

        openai_api_key: The provider's key; one of any kind does for a hostile provider.

        openai_base_url: The provider; None: OpenAI's own.

        images_model: The model of a job that names none.

        images_budget: Images that one process may ask for at once. The budget is of one process: where several workers
            run, give each its share of the provider's limit.

        images_refill_seconds: After how many seconds the limit gives one back.

        images_timeout_seconds: What one image is given; None: it is learned.

        images_open_seconds: For how long an open breaker lets nobody through.

        images_concurrency: Jobs that one worker draws at the same time.

        images_probe_seconds: From one probe to the next while the breaker is half-open, and until the first.

        images_lease_seconds: For how long a worker that says nothing keeps its jobs.

        images_attempts: How often a job is tried before it is a dead letter.

        images_drain_seconds: What running jobs are given to end when a worker is told to stop.

        images_host: Where the API listens.

        images_port: Where the API listens; 0: any free port.

        images_log_level: What the processes say: DEBUG, INFO, WARNING or ERROR.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    database_url: str = Field(repr=False)
    openai_api_key: SecretStr
    openai_base_url: HttpUrl | None = Field(None, repr=False)
    images_model: str = Field("gpt-image-2", min_length=1)
    images_budget: float = Field(5.0, ge=1, le=100_000)
    images_refill_seconds: float = Field(60.0, gt=0, le=86_400)
    images_timeout_seconds: float | None = Field(None, gt=0, le=3_600)
    images_open_seconds: float = Field(60.0, gt=0, le=3_600)
    images_concurrency: int = Field(4, ge=1, le=1_000)
    images_probe_seconds: float = Field(60.0, gt=0, le=3_600)
    images_lease_seconds: float = Field(30.0, ge=0.2, le=3_600)
    images_attempts: int = Field(5, ge=1, le=100)
    images_drain_seconds: float = Field(100.0, ge=0, le=3_600)
    images_host: str = Field("127.0.0.1", min_length=1)
    images_port: int = Field(8000, ge=0, le=65_535)
    images_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url")
    @classmethod
    def _is_of_postgres(cls, url: str) -> str:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        try:
            conninfo_to_dict(url)
        except ProgrammingError:
            # Its message may hold what stands in the URL.
            raise ValueError(
                "must be like postgresql://user:password@host:port/name, with what is special in it as %XX"
            ) from None
        return url

    @field_validator("openai_api_key")
    @classmethod
    def _fits_in_a_header(cls, key: SecretStr) -> SecretStr:
        # Refused here, for each job that is asked for with it would fail as if the provider were away.
        if not _VISIBLE.fullmatch(key.get_secret_value()):
            raise ValueError(
                "must be visible ASCII characters only; look for a line end or a space at its end, or quotes around it"
            )
        return key

    @field_validator("images_host")
    @classmethod
    def _can_be_looked_up(cls, host: str) -> str:
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError(
                "must be an address or a name of this machine, such as 127.0.0.1, ::1 or 0.0.0.0"
            ) from None
        return host


_VISIBLE = re.compile("[!-~]+")

# Whose value may hold a password or a key, and is never shown.
_SECRET = frozenset({"database_url", "openai_api_key"})


def read_settings(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings from *environ*, such as `os.environ`. What is empty is not set.

    Raises:
        SettingsError: If a variable is missing or cannot be used; all of them are named at once.
    """
    known = {name: environ[name.upper()] for name in Settings.model_fields if environ.get(name.upper())}
    try:
        return Settings.model_validate(known)
    except ValidationError as error:
        told = [_told(str(problem["loc"][0]), problem["msg"], known) for problem in error.errors()]
    raise SettingsError("\n".join(told))


def _told(name: str, message: str, given: Mapping[str, str]) -> str:
    variable = name.upper()
    if name not in given:
        return f"{variable} is not set: {_WANTED[name]}"
    # With an "@" it may be a URL with a password, wherever somebody has put it.
    value = "(not shown)" if name in _SECRET or "@" in given[name] else repr(given[name])
    return f"{variable} is {value}: {message.removeprefix('Value error, ').replace('Input should', 'it should')}"


_WANTED = {
    "database_url": "give the URL of a Postgres database, or run `make example`, which starts one",
    "openai_api_key": (
        "give your key, or any word where OPENAI_BASE_URL needs none, or run `make example`, which starts a provider"
    ),
}
