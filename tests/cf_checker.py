"""The compliance checker, cf:1.11, offline and in a process of its own.

Together with ecCodes (compliance-checker 6.1.0) a process ends in `double free or corruption` when it exits.
"""

import json
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from compliance_checker.cf.cf_1_11 import CF1_11Check
from compliance_checker.suite import CheckSuite

def messages(group):
    scored = group.value
    perfect = scored is True or (isinstance(scored, tuple) and scored[0] == scored[1])
    return [] if perfect else [*group.msgs, *(m for child in group.children for m in messages(child))]

suite = CheckSuite()
suite.checkers = {"cf:1.11": CF1_11Check}
dataset = suite.load_dataset(sys.argv[1])
groups, errors = suite.run_all(dataset, ["cf:1.11"])["cf:1.11"]
dataset.close()
found = [m for group in groups for m in messages(group)] + [str(error) for error in errors.items()]
print("\\n" + json.dumps(found))
"""


def complaints(path: Path) -> list[str]:
    """Every message of the checks, required and recommended."""
    run = subprocess.run([sys.executable, "-c", _SCRIPT, str(path)], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(run.stdout.splitlines()[-1])
    return found
