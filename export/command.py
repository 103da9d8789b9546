"""How both exporters end: one block for people, one object for machines, the exit code of the error."""

import json
import sys
from collections.abc import Callable

from gfs_sr.errors import GfsSrError, Interrupted, disk_failure


def finish(work: Callable[[], dict[str, object]], *, as_json: bool) -> int:
    """Run `work` and print its facts, or its error: what, where, how to mend.

    Returns:
        The exit code: 0, or that of the error's class.
    """
    try:
        facts = work()
    except KeyboardInterrupt:
        return _fail(Interrupted("stopped", "export", "run the same command again: nothing was left behind"), as_json)
    except GfsSrError as error:
        return _fail(error, as_json)
    except OSError as error:
        failed = disk_failure(error)
        if failed is None:
            raise
        return _fail(failed, as_json)
    if as_json:
        print(json.dumps(facts))
    else:
        print("\n".join(_lines(facts)))
    return 0


def _fail(error: GfsSrError, as_json: bool) -> int:
    if as_json:
        report = {
            "class": type(error).__name__,
            "what": error.what,
            "where": error.where,
            "mend": error.mend,
            "exit_code": error.exit_code,
        }
        print(json.dumps({"error": report}))
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return error.exit_code


def _lines(facts: dict[str, object]) -> list[str]:
    lines = []
    for key, value in facts.items():
        if isinstance(value, list):
            lines.append(f"{key}:")
            lines += ["  " + "  ".join(f"{name} {part}" for name, part in entry.items()) for entry in value]
        else:
            lines.append(f"{key}: {value}")
    return lines
