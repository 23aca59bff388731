"""
Settings are typed, and what is wrong is told at once, by the name of its variable.
"""

from __future__ import annotations

import pytest

from examples.images.settings import Settings, SettingsError, read_settings

ENOUGH = {"DATABASE_URL": "postgresql://me:secret@db/images", "OPENAI_API_KEY": "sk-secret"}


def test_two_variables_are_enough() -> None:
    """
    All else has a default, and what is empty is not set.
    """
    settings = read_settings({**ENOUGH, "IMAGES_PORT": "", "PATH": "/bin"})

    assert ("gpt-image-2", 5.0, 8000) == (settings.images_model, settings.images_budget, settings.images_port)


def test_no_secret_is_printed() -> None:
    """
    A log line of the settings must give nobody the database.
    """
    assert "secret" not in repr(read_settings({**ENOUGH, "OPENAI_BASE_URL": "http://me:secret@host/v1"}))


def test_all_that_is_missing_is_told_at_once() -> None:
    """
    Nobody wants to find out one by one.
    """
    with pytest.raises(SettingsError) as raised:
        read_settings({})

    assert ["DATABASE_URL is not set", "OPENAI_API_KEY is not set"] == [
        line.partition(":")[0] for line in str(raised.value).splitlines()
    ]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("IMAGES_BUDGET", "-1", "IMAGES_BUDGET is '-1': it should be greater than or equal to 1"),
        ("IMAGES_BUDGET", "nan", "IMAGES_BUDGET is 'nan': it should be"),
        ("IMAGES_PORT", "70000", "IMAGES_PORT is '70000': it should be less than or equal to 65535"),
        ("IMAGES_PORT", "http", "IMAGES_PORT is 'http': it should be a valid integer"),
        ("IMAGES_LEASE_SECONDS", "0", "IMAGES_LEASE_SECONDS is '0': it should be"),
        ("OPENAI_BASE_URL", "localhost", "OPENAI_BASE_URL is 'localhost': it should be a valid URL"),
        ("OPENAI_BASE_URL", "ftp://me:secret@host", "OPENAI_BASE_URL is (not shown): URL scheme should be 'http'"),
        ("IMAGES_PORT", "http://me:secret@host", "IMAGES_PORT is (not shown): it should be a valid integer"),
        ("OPENAI_API_KEY", "sk-secret\n", "OPENAI_API_KEY is (not shown): must be visible ASCII characters only"),
        ("OPENAI_API_KEY", " sk-secret", "OPENAI_API_KEY is (not shown): must be visible ASCII characters only"),
        ("OPENAI_API_KEY", "\u201csk-secret\u201d", "OPENAI_API_KEY is (not shown): must be visible ASCII"),
        ("IMAGES_HOST", "a..b", "IMAGES_HOST is 'a..b': must be an address or a name of this machine"),
        ("IMAGES_HOST", 64 * "a", "must be an address or a name of this machine"),
        ("DATABASE_URL", "mysql://me:secret@db/x", "DATABASE_URL is (not shown): must begin with postgresql://"),
    ],
)
def test_what_is_wrong_is_told(variable: str, value: str, told: str) -> None:
    """
    Name, value, and what would do; of what may hold a password no value.
    """
    with pytest.raises(SettingsError) as raised:
        read_settings({**ENOUGH, variable: value})

    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "fe80::1%eth0", "localhost", "api.internal."])
def test_where_it_may_listen(host: str) -> None:
    """
    Addresses of both families, and names.
    """
    assert host == read_settings({**ENOUGH, "IMAGES_HOST": host}).images_host


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """
    Whoever makes them in code is told of a typing error.
    """
    with pytest.raises(ValueError, match="images_bugdet"):
        Settings.model_validate({"database_url": "postgresql://x", "openai_api_key": "x", "images_bugdet": 3})
