#!/bin/sh
# The environment of dl4ds 1.8.0, which wants an older NumPy than ours and a package name that is no longer served.
#   benchmarks/peers/dl4ds_setup.sh [FOLDER]      then      export GFS_SR_DL4DS_PYTHON=FOLDER/bin/python
set -eu
folder="${1:-build/dl4ds}"
test -x "$folder/bin/python" || "${PYTHON:-python3}" -m venv "$folder"
SKLEARN_ALLOW_DEPRECATED_SKLEARN_PACKAGE_INSTALL=True "$folder/bin/python" -m pip install --quiet \
    'tensorflow-cpu==2.15.1' 'dl4ds==1.8.0' 'numpy<2' 'setuptools<81' scikit-learn
echo "$folder/bin/python"
