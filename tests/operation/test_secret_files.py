"""Secrets that are files of a folder, as Kubernetes and container engines hand them over."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from keystead import bootstrap
from keystead.operation.files import ConfigurationError
from keystead.settings import read_settings

DATABASE = "postgresql://keystead:hush@127.0.0.1/keystead"
FIRST, SECOND = (base64.b64encode(bytes(range(n, n + 32))).decode("ascii") for n in (1, 100))
PEPPERS = f"2027-01:{FIRST}\n2026-01:{SECOND}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a Secret is mounted: the files are links into a hidden folder, and a group may read them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secrets" / "..data").mkdir(parents=True)
    for name, text in {"database": f"{DATABASE}\n", "peppers": PEPPERS}.items():
        file = tmp_path / "secrets" / "..data" / name
        file.write_text(text)
        file.chmod(0o440)
        (tmp_path / "secrets" / name).symlink_to(f"..data/{name}")
    monkeypatch.setenv("KEYSTEAD_SECRETS", str(tmp_path / "secrets"))
    return tmp_path / "secrets"


def test_each_file_is_the_setting_of_its_name(folder: Path) -> None:
    """Peppers may be on several lines, as in their own file. No representation shows a value."""
    settings = read_settings()
    assert settings.database == DATABASE
    peppers = bootstrap.find_peppers(settings)
    assert peppers is not None
    assert peppers.current.id == "2027-01"
    assert "hush" not in repr(settings)
    assert FIRST not in repr(settings)


def test_the_environment_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable, and an argument, win over a file."""
    monkeypatch.setenv("KEYSTEAD_DATABASE", DATABASE.replace("hush", "other"))
    assert "other" in str(read_settings().database)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "..data" / "peppers").chmod(0o444), "is open to others"),
        (lambda f: (f / "pepers").write_text("x"), "is not named for one of the settings"),
        (lambda f: (f / "port").write_text("80"), "is not named for one of the settings"),
        (lambda f: (f / "smtp").write_bytes(b"\xff"), "is not text"),
        (lambda f: f.rename(f.with_name("gone")), "Cannot read the secrets"),
    ],
    ids=["open", "misspelled", "no secret", "not text", "gone"],
)
def test_an_unsafe_folder_is_refused(folder: Path, change: object, message: str) -> None:
    """Files that others can read, that name no secret, or that can't be read stop the start with one line."""
    assert callable(change)
    change(folder)
    for file in folder.glob("[a-z]*"):
        if not file.is_symlink():
            file.chmod(0o600)
    with pytest.raises(ConfigurationError, match=message) as refused:
        read_settings()
    assert "hush" not in str(refused.value)


def test_a_file_says_the_folder_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may be set in keystead.toml, which then contains no secret itself."""
    monkeypatch.delenv("KEYSTEAD_SECRETS")
    Path("keystead.toml").write_text(f'secrets = "{folder}"\n')
    assert read_settings().database == DATABASE
