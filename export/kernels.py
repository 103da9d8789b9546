"""`python -m export.kernels`: compile every kernel for GPUs that are not at hand; a JSON line for each."""

import json
import sys
from dataclasses import asdict

from gfs_sr.errors import BackendNotInstalled


def main() -> int:
    """Print kernel, arch, dtype, registers, shared_bytes, local_bytes, tensor_core.

    Returns:
        0; 1 where a kernel spills registers or computes without the tensor cores it should use; 5 without Triton.
    """
    try:
        from gfs_sr.kernels.compile import compile_all
    except ImportError as error:
        missing = BackendNotInstalled(f"{error.name} is not installed", "export.kernels", "pip install triton torch")
        print(f"{type(missing).__name__}: {missing}", file=sys.stderr)
        return missing.exit_code
    wrong = 0
    for usage in compile_all():
        print(json.dumps(asdict(usage)), flush=True)
        wrong += usage.local_bytes > 0 or usage.tensor_core is (usage.dtype == "ieee")
    if wrong:
        print(f"{wrong} kernels spill registers or miss the tensor cores", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
