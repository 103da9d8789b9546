"""Zarr output."""

import zarr

from gfs_sr.runtime.sink import open_sink
from tests.runtime.sink_suite import BLOCK, SinkSuite, description, fields, write_all


class TestZarr(SinkSuite):
    suffix = ".zarr"

    def test_it_is_version_3_in_blosc_lz4_with_chunks_of_whole_blocks(self, target):
        values, flags = fields()
        with open_sink(target) as sink:
            sink.open(description(), BLOCK)
            write_all(sink, values, flags)
            sink.commit()
        array = zarr.open_group(target, mode="r")["temp"]
        assert array.metadata.zarr_format == 3
        codec = array.metadata.codecs[-1].to_dict()
        assert codec["name"] == "blosc"
        assert (codec["configuration"]["cname"], codec["configuration"]["shuffle"]) == ("lz4", "bitshuffle")
        assert BLOCK[0] % array.chunks[0] == 0
        assert array.chunks[0] % 6 == 0
