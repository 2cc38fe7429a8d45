"""`make demo`: the whole loop on drawn street scenes, with a real Label Studio server of its own.

Every step looks first whether it was done, so a second run goes on where the first one was.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from connectors.label_studio import Server
from connectors.label_studio_json import loads
from connectors.label_studio_server import LocalServer, Login
from connectors.label_studio_setup import create_project, find_project, import_tasks, upload_images
from connectors.storage import read_json, write_bytes
from pipeline.init import CHECKOUT, init
from pipeline.progress import Progress
from pipeline.sample_project import write_sample_project
from schemas.errors import DataError
from schemas.labels import label_config
from schemas.manifest import EVALUATION, GATE, REPORT
from schemas.params import load_params

TITLE = "maskloop sample: street scenes"
SECOND_ANNOTATOR = "second.annotator@localhost.local"


def start(
    folder: Path, server_command: Path, epochs: int | None, environment: dict[str, str], progress: Progress
) -> str:
    """Start the server, fill it, run the loop. Returns what to look at. Raises DataError if the loop fails."""
    local = LocalServer(folder / "label-studio", server_command)
    for _ in progress.track(local.start(), None, "seconds that Label Studio starts (the first time takes about 60)"):
        pass
    login = local.login()
    assert login is not None
    server = Server.open(login.url, login.api_key)
    project = sample_project(server, folder / "sample", progress)
    loop = folder / "loop"
    _project_folder(loop, login, project, epochs)
    progress.say("dvc repro: the loop")
    run = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=loop, env=environment, check=False)
    if run.returncode != 0:
        raise DataError("dvc repro failed; what it said is above", f"Mend it, and run it again in {loop}.")
    return _where_to_look(loop, login, project)


def stop(folder: Path) -> str:
    """Stop the demo's server. What it holds stays."""
    was_up = LocalServer(folder / "label-studio", Path()).stop()
    return "Label Studio stopped; `make demo` starts it again" if was_up else "Label Studio was not running"


def sample_project(server: Server, folder: Path, progress: Progress) -> int:
    """Number of the sample project, created and filled unless it is there already."""
    params = load_params(CHECKOUT / "params.yaml")
    project = find_project(server, TITLE) or create_project(server, TITLE, label_config(params.class_map))
    found = loads(server.get("/api/tasks", {"project": project, "page_size": 1, "fields": "task_only"}).content)
    if found.get("total"):
        return project
    progress.say("drawing the sample project")
    sample = write_sample_project(folder)
    tasks = read_json(sample.export)
    uploads = upload_images(server, project, list(sample.images))
    address_of = {path.name: url for path, url in progress.track(uploads, len(tasks), "images uploaded")}
    annotators = _annotators(server)
    prepared = [_importable(task, address_of, annotators) for task in tasks]
    for _ in progress.track(import_tasks(server, project, prepared), 1, "tasks imported"):
        pass
    return project


def _annotators(server: Server) -> list[int]:
    """User numbers of the two annotators of the sample project."""
    users = loads(server.get("/api/users/").content)
    if not any(user["email"] == SECOND_ANNOTATOR for user in users):
        users.append(server.send("POST", "/api/users/", {"email": SECOND_ANNOTATOR, "username": SECOND_ANNOTATOR}))
    second = next(user["id"] for user in users if user["email"] == SECOND_ANNOTATOR)
    return [min(user["id"] for user in users), second]


def _importable(task: dict[str, Any], address_of: dict[str, str], annotators: list[int]) -> dict[str, Any]:
    """An export's task as Label Studio imports it: with the uploaded image's address, and users that exist."""
    first = min((entry["completed_by"] for entry in task["annotations"]), default=0)
    annotations = [
        {
            "result": entry["result"],
            "was_cancelled": entry["was_cancelled"],
            "ground_truth": False,
            "completed_by": annotators[int(entry["completed_by"] != first)],
        }
        for entry in task["annotations"]
    ]
    image = Path(task["data"]["image"]).name
    return {"data": task["data"] | {"image": address_of[image], "name": image}, "annotations": annotations}


def _project_folder(loop: Path, login: Login, project: int, epochs: int | None) -> None:
    """A maskloop project folder with a git repository of its own, pointing at the demo's server."""
    is_new = not (loop / "params.yaml").exists()
    if is_new:
        loop.mkdir(parents=True, exist_ok=True)
        _git(loop, "init", "--quiet")
        list(init(loop, project, force=False))
    params = (loop / "params.yaml").read_text(encoding="utf-8")
    params = re.sub(r"(?m)^  url: .*$", f"  url: {login.url}", params)
    params = re.sub(r"(?m)^  project: .*$", f"  project: {project}", params)
    if epochs is not None:
        params = re.sub(r"(?m)^  epochs: .*$", f"  epochs: {epochs}", params)
    write_bytes(loop / "params.yaml", params.encode())
    secrets = f"LABEL_STUDIO_URL={login.url}\nLABEL_STUDIO_API_KEY={login.api_key}\n"
    write_bytes(loop / ".env", secrets.encode(), mode=0o600)
    if is_new:
        _git(loop, "add", "--all")
        who = ["-c", "user.name=maskloop", "-c", "user.email=demo@localhost.local"]
        _git(loop, *who, "commit", "--quiet", "--message", "Sample project")


def _git(folder: Path, *arguments: str) -> None:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DataError(f"git {' '.join(arguments)} failed in {folder}: {result.stderr}", "Is git installed?")


def _where_to_look(loop: Path, login: Login, project: int) -> str:
    scores, gate = read_json(loop / EVALUATION), read_json(loop / GATE)
    lines = [
        f"Champion {gate['champion']} ({gate['decision']} this round)",
        *(
            f"  {name}: mean IU {scores[name]['mean_iu']:.3f}, pixel accuracy {scores[name]['pixel_accuracy']:.3f}"
            for name in ("val", "test")
            if scores.get(name)
        ),
        f"Report:   {(loop / REPORT).resolve()}",
        f"Review:   {login.url}/projects/{project}/data",
        f"  login:  {login.username}",
        f"  password: {login.password}",
        "Correct some predictions there, then run `make demo` again. `make demo-stop` ends the server.",
    ]
    return "\n".join(lines)
