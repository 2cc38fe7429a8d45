"""The command line: every verb explains itself; what is expected to go wrong is a line, a remedy and exit code 1."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectors.formats import FORMATS
from pipeline import cli
from pipeline.cli.settings import credentials
from pipeline.cli.stages import STAGES
from pipeline.cli.terminal import err
from schemas.errors import DataError, MaskloopError
from tests.conftest import Project

VERBS = [
    *([verb] for verb in STAGES),
    ["init"],
    ["doctor"],
    ["label-config"],
    ["retrain"],
    ["export"],
    ["classes", "show"],
    ["classes", "rename"],
    *(["import", name] for name in FORMATS),
    ["demo", "start"],
    ["demo", "stop"],
]


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, list(arguments))
    return result.exit_code, result.output


def maskloop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = {"PYTHONPATH": str(Path(cli.__file__).parents[2]), "LABEL_STUDIO_API_KEY": "t0p-secret"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(verb: list[str]):
    code, text = invoke(*verb, "--help")
    assert code == 0
    assert f"maskloop {' '.join(verb)}" in text.partition("Example")[2]


def test_the_help_lists_every_verb():
    code, text = invoke("--help")
    assert code == 0
    assert all(f" {verb[0]} " in text for verb in VERBS)


def test_the_help_waits_for_no_heavy_import():
    heavy = {"torch", "numba", "pandas", "PIL", "httpx", "label_studio_sdk", "transformers", "fastapi", "matplotlib"}
    program = "import sys, pipeline.cli; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pipeline.cli.stages" in result.stdout.split()
    assert heavy & set(result.stdout.split()) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["pul"],
        ["init", "--project", "0"],
        ["import", "mask-folder", "a", "b"],
        ["import", "mask-folder", "a", "b", "--classes", "c", "--void", "256"],
        ["import", "mask-folder", "a", "b", "--classes", "c", "--tolerance", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]):
    assert invoke(*arguments)[0] == 2


def test_an_expected_error_is_one_line_and_its_remedy(tmp_path: Path):
    result = maskloop(tmp_path, "rasterise")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "error: params.yaml does not exist",
        "       Run `maskloop init` to write a commented one.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "found [road], expected [bold]a class[/bold]",
        "a closing [/red] and an [unclosed",
        r"C:\[x] and \[bold]",
        "classes:car: is no colour",
        "x" * 300,
    ],
)
def test_an_error_is_printed_literally(text: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def fails() -> None:
        raise DataError(text, text)

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.setattr(err, "file", sys.stderr)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capfd.readouterr().err.splitlines() == [f"error: {text}", f"       {text}"]


def test_an_error_of_several_lines_becomes_one():
    assert str(MaskloopError("a\n  b\r\nc ")) == "a b c"


def test_stages_run_by_name(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.export([])
    (project.folder / "params.yaml").write_text(
        "source: {kind: label_studio_export, path: export.json}\nclasses: [{name: road}]"
    )
    monkeypatch.chdir(project.folder)
    code, text = invoke("configure")
    assert (code, text) == (0, "configure: 1 classes (road new in classes.lock); data/params.yaml written\n")
    assert invoke("probe")[0] == 0
    assert (project.folder / "data/probe.json").exists()


def test_the_label_config_is_printed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "params.yaml").write_text(
        "source: {kind: label_studio, project: 1}\nclasses: [{name: '[b]a:car: very long label of a class[/b]'}]"
    )
    monkeypatch.chdir(tmp_path)
    code, text = invoke("label-config")
    assert code == 0
    assert '<Label value="[b]a:car: very long label of a class[/b]" background="#808080" />' in text


def test_doctor_says_what_is_wrong_with_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, text = invoke("doctor")
    assert code == 1
    assert text.startswith("wrong params.yaml: params.yaml does not exist\n      → Run `maskloop init`")


def test_the_environment_goes_before_dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".env").write_text("LABEL_STUDIO_URL=http://from-file\nLABEL_STUDIO_API_KEY=from-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "from-environment")
    found = credentials()
    assert (found.url, found.api_key) == ("http://from-file", "from-environment")
    assert "from-environment" not in repr(found)
