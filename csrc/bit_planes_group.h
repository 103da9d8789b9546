// A few values, sorted by bit: as many as fill a line of the cache in each plane. One way for each kind of processor.
#pragma once

#include <cstdint>

namespace gfs_sr {

struct BitPlanesGroup {
    static constexpr int values = 512;
    static constexpr int bytes = values / 8;  // of one plane
    static constexpr int ahead = 2 * values;  // to be fetched: a processor's own foresight ends with each page

    alignas(64) std::uint8_t bits[32][bytes];
};

void bit_planes_group_avx2(const std::uint32_t* values, BitPlanesGroup& planes);
void bit_planes_group_avx512(const std::uint32_t* values, BitPlanesGroup& planes);

}  // namespace gfs_sr
