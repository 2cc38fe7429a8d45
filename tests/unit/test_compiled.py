"""The cache of compiled functions: a change anywhere among them gives it another folder."""

import re
import shutil
from pathlib import Path

from numba import config

from connectors.compiled import PACKAGES, sources_digest

ROOT = Path(__file__).parents[2]


def test_a_change_in_a_called_function_of_another_file_is_noticed(tmp_path: Path):
    copies = [Path(shutil.copytree(package, tmp_path / package.name)) for package in PACKAGES]
    assert sources_digest(copies) == sources_digest(PACKAGES)
    assert config.CACHE_DIR.endswith(sources_digest(PACKAGES))
    called = tmp_path / "connectors/error_free.py"
    called.write_text(called.read_text().replace("high = a + b", "high = b + a"))
    assert sources_digest(copies) != sources_digest(PACKAGES)


def test_other_changes_leave_the_cache(tmp_path: Path):
    copies = [Path(shutil.copytree(package, tmp_path / package.name)) for package in PACKAGES]
    (tmp_path / "pipeline/train.py").write_text("")
    assert sources_digest(copies) == sources_digest(PACKAGES)


def test_nothing_is_compiled_in_another_way():
    sources = {path: path.read_text() for package in PACKAGES for path in package.rglob("*.py")}
    direct = [path.name for path, source in sources.items() if re.search(r"(?m)^(import|from) numba\b", source)]
    assert direct == ["compiled.py"]
