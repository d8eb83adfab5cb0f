"""Settings: file, environment, arguments; later ones win, and nothing is silently ignored."""

from pathlib import Path

import pytest

from gently.settings import CopilotSettings, DeviceLayerSettings, SettingsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without settings of the one who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("SETTINGS", "CONFIG", "STORAGE", "HOST", "PORT", "URL", "VIZ_PORT", "VIZ"):
        monkeypatch.delenv(f"GENTLY_{name}", raising=False)
    return tmp_path


def test_without_a_word_the_twin_is_served_on_loopback() -> None:
    settings = DeviceLayerSettings()

    assert settings.config == "twin"
    assert settings.storage == Path("gently-data")
    assert (settings.host, settings.port) == ("127.0.0.1", 60610)


def test_the_file_the_environment_and_the_arguments_win_in_this_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gently.yml").write_text("port: 1001\nhost: 127.0.0.2\nconfig: file\n")
    monkeypatch.setenv("GENTLY_HOST", "127.0.0.3")
    monkeypatch.setenv("GENTLY_CONFIG", "environment")

    settings = DeviceLayerSettings(config="argument")

    assert (settings.port, settings.host, settings.config) == (1001, "127.0.0.3", "argument")


def test_each_setting_says_where_it_comes_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gently.yml").write_text("port: 1001\nhost: 127.0.0.2\nconfig: file\n")
    monkeypatch.setenv("GENTLY_HOST", "127.0.0.3")
    monkeypatch.setenv("GENTLY_CONFIG", "environment")

    sources = DeviceLayerSettings(config="argument").sources

    assert sources["config"] == "command line"
    assert sources["host"] == "GENTLY_HOST"
    assert sources["port"] == str(folder / "gently.yml")
    assert sources["storage"] == "default"
    assert sources.keys() == DeviceLayerSettings.model_fields.keys()


def test_an_argument_that_was_not_given_does_not_hide_the_others(folder: Path) -> None:
    (folder / "gently.yml").write_text("port: 1001\n")

    assert DeviceLayerSettings(port=None).port == 1001  # type: ignore[arg-type]


def test_the_file_may_be_named_in_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "rig.yml").write_text("config: rig\n")
    monkeypatch.setenv("GENTLY_SETTINGS", str(folder / "rig.yml"))

    assert DeviceLayerSettings().config == "rig"


def test_one_file_serves_both_scripts(folder: Path) -> None:
    (folder / "gently.yml").write_text("port: 1001\nviz_port: 1002\nstorage: data\n")

    assert DeviceLayerSettings().port == 1001
    assert CopilotSettings().viz_port == 1002
    assert DeviceLayerSettings().storage == CopilotSettings().storage == Path("data")


def test_settings_do_not_change_while_a_script_runs() -> None:
    settings = DeviceLayerSettings()

    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize("port", ["0", "70000", "http", ""])
def test_a_value_that_cannot_be_is_refused_by_name_with_where_it_may_come_from(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("GENTLY_PORT", port)

    with pytest.raises(SettingsError, match=r"port: .*gently.yml, GENTLY_… in the environment"):
        DeviceLayerSettings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot: 1001", "prot is no setting; known are: .*port"),
        ("- port", "name: value"),
        ("port: [", "is no YAML"),
        ("port: 70000", "port: .*65535"),
        ("storage: {a: b}", "storage"),
    ],
)
def test_a_file_that_is_not_as_it_has_to_be_is_refused(folder: Path, text: str, says: str) -> None:
    (folder / "gently.yml").write_text(text)

    with pytest.raises(SettingsError, match=says) as refused:
        DeviceLayerSettings()
    assert "gently.yml" in str(refused.value)


def test_a_file_of_other_bytes_is_refused(folder: Path) -> None:
    (folder / "gently.yml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match="is no YAML"):
        DeviceLayerSettings()


def test_a_file_that_was_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTLY_SETTINGS", "elsewhere.yml")

    with pytest.raises(SettingsError, match=r"elsewhere.yml cannot be read.*GENTLY_SETTINGS"):
        DeviceLayerSettings()


def test_an_empty_file_changes_nothing(folder: Path) -> None:
    (folder / "gently.yml").write_text("# nothing yet\n")

    assert DeviceLayerSettings().model_dump() == DeviceLayerSettings(config="twin").model_dump()


def test_the_copilot_takes_an_address_and_nothing_else_for_a_url() -> None:
    assert str(CopilotSettings().url) == "http://127.0.0.1:60610/"
    with pytest.raises(SettingsError, match="url"):
        CopilotSettings(url="the microscope")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.0.2.1", "example.org", "", "127.0.0.1.evil.example"]
)
def test_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="loopback"):
        DeviceLayerSettings(host=host)
