"""The class contract: `classes.lock` beside params.yaml says which index each class has, for good.

A mask on disk is numbers; what they mean is the class map's order. So the class map may only grow at its end: a build
that would move, reuse or rename an index stops. The lock is JSON, name → index, and meant to be committed.
"""

from __future__ import annotations

from pathlib import Path

from connectors.storage import read_json, write_json
from schemas.errors import ClassMapError, DataError
from schemas.labels import ClassMap
from schemas.manifest import CLASSES_LOCK

Lock = dict[str, int]

WAY_OUT = (
    "Restore the order of `classes` in params.yaml and add new classes at its end; for a new name of the same class "
    "run `maskloop classes rename OLD NEW`; to start over with other classes, delete classes.lock."
)


def read_lock(folder: Path) -> Lock:
    """Name → index in index order; empty if there is no lock yet. Raises ClassMapError if it is malformed."""
    path = folder / CLASSES_LOCK
    if not path.exists():
        return {}
    try:
        found = read_json(path)
    except DataError as error:
        raise ClassMapError(str(error), f"Restore {CLASSES_LOCK} from version control.") from error
    if not isinstance(found, dict) or list(found.values()) != list(range(len(found))):
        raise ClassMapError(f"{path} does not map names to 0, 1, 2 …", f"Restore {CLASSES_LOCK} from version control.")
    return found


def check(folder: Path, class_map: ClassMap) -> None:
    """Raise ClassMapError, naming what changed, unless the class map begins with the locked classes in their order."""
    broken = [change for name, index in read_lock(folder).items() if (change := _change(name, index, class_map))]
    if broken:
        raise ClassMapError(f"the class map breaks {CLASSES_LOCK}: {'; '.join(broken)}", WAY_OUT)


def _change(name: str, index: int, class_map: ClassMap) -> str | None:
    now = class_map.index(name)
    if now == index:
        return None
    if now is not None:
        return f"`{name}` was {index} and would be {now}"
    if index < len(class_map):
        return f"{index} was `{name}` and would be `{class_map.label(index)}`"
    return f"`{name}` ({index}) is gone"


def lock(folder: Path, class_map: ClassMap) -> list[str]:
    """Add the classes that are new to the lock. Returns their names; raises ClassMapError as `check` does."""
    check(folder, class_map)
    known = read_lock(folder)
    write_json(folder / CLASSES_LOCK, {name: index for index, name in enumerate(class_map.names)})
    return [name for name in class_map.names if name not in known]


def rename(folder: Path, old: str, new: str) -> int:
    """Give a class another name in the lock; its index stays. Returns the index.

    Raises ClassMapError if there is no class `old` or there is a class `new`.
    """
    locked = read_lock(folder)
    if old not in locked:
        raise ClassMapError(
            f"{CLASSES_LOCK} has no class `{old}`, only {', '.join(f'`{name}`' for name in locked) or 'none at all'}",
            "`maskloop classes show` lists them; `maskloop configure` writes the first lock.",
        )
    if new in locked:
        raise ClassMapError(
            f"{CLASSES_LOCK} has a class `{new}` already, with index {locked[new]}",
            "Two classes can't become one by renaming: relabel the regions in Label Studio.",
        )
    write_json(folder / CLASSES_LOCK, {new if name == old else name: index for name, index in locked.items()})
    return locked[old]
