"""Fields on any grid, projected ones too, as tensors for training."""

from collections.abc import Collection, Sequence
from pathlib import Path

from gfs_sr.data.sources.sniff import Format, sniff
from gfs_sr.data.sources.tensor_record import TensorRecord
from gfs_sr.errors import MissingVariable


def open_tensors(
    paths: Sequence[Path | str] | Path | str, variables: Collection[str] | None = None
) -> list[TensorRecord]:
    """Every run of fields in the files, in memory; grids need not be regular, times need not be even.

    Args:
        paths: GRIB, NetCDF or Zarr, told by content.
        variables: names of the table, levels as t@850, or the files' own names for what the table has not
            (`q_2m` is q at 2 m of a GRIB file); None for all.

    Raises:
        MissingVariable: none of the variables is in the files.
        UnreadableFile: a file is truncated or damaged.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    formats = {path: sniff(path) for path in files}
    records: list[TensorRecord] = []
    gribs = [path for path in files if formats[path] is Format.GRIB]
    if gribs:
        from gfs_sr.data.sources.tensors_grib import grib_tensors

        records += grib_tensors(gribs, variables)
    for path in files:
        if formats[path] is Format.GRIB:
            continue
        from gfs_sr.data.sources.netcdf import open_netcdf
        from gfs_sr.data.sources.tensors_dataset import dataset_tensors
        from gfs_sr.data.sources.zarr import open_zarr

        with open_netcdf(path) if formats[path] is Format.NETCDF else open_zarr(path) as dataset:
            records += dataset_tensors(dataset, str(path), variables)
    if not records:
        raise MissingVariable(
            "none of the variables is in the files",
            ", ".join(str(path) for path in files[:3]),
            f"asked for: {', '.join(variables)}" if variables else "give a file with gridded fields",
        )
    return records
