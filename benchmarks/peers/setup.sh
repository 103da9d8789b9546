#!/bin/sh
# The environment of the peers that benchmarks compare with: their TensorFlow wants an older NumPy than ours.
#   benchmarks/peers/setup.sh [FOLDER]      then      export GFS_SR_PEERS_PYTHON=FOLDER/bin/python
set -eu
folder="${1:-build/peers}"
test -x "$folder/bin/python" || "${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet 'tensorflow-cpu==2.15.1' 'NREL-phygnn==0.0.30' 'numpy<2' 'setuptools<81' \
    cftime dask h5netcdf matplotlib netCDF4 NREL-farms NREL-gaps NREL-rex pandas pillow scipy xarray zarr
# its own pin of the layer library's renamed package asks for another TensorFlow
"$folder/bin/python" -m pip install --quiet --no-deps 'NREL-sup3r==0.2.7'
echo "$folder/bin/python"
