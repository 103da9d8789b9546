"""NetCDF output."""

import netCDF4
import numpy as np

from gfs_sr.runtime.sink import open_sink
from tests.runtime.sink_suite import BLOCK, SinkSuite, description, fields, write_all


class TestNetCDF(SinkSuite):
    suffix = ".nc"

    def test_it_is_compressed_as_promised(self, target):
        values, flags = fields()
        with open_sink(target) as sink:
            sink.open(description(), BLOCK)
            write_all(sink, values, flags)
            sink.commit()
        with netCDF4.Dataset(target) as file:
            filters = file["temp"].filters()
            assert (filters["zlib"], filters["shuffle"], filters["complevel"]) == (True, True, 1)
            assert np.isnan(file["temp"]._FillValue)
