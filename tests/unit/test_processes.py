"""Helper processes end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, time
from pipeline.processes import process_pool

if __name__ == "__main__":
    with process_pool(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_helpers_do_not_outlive_a_killed_stage(tmp_path: Path):
    script = tmp_path / "stage.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout is not None
        helper = int(stage.stdout.readline())
        assert runs(helper)
        stage.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while runs(helper) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(helper)
