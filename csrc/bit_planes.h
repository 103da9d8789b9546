// Values of 32 bits sorted by bit: of every block, first the lowest bit of all values, then the next one. Neighbours in a
// field share their high bits, which makes long runs that a compressor finds at once.
//
// Source: the transposition of Masui et al. 2015 (bitshuffle, Astronomy and Computing 12), laid out as Blosc 1 reads it.
#pragma once

#include <cstdint>

namespace gfs_sr {

// (frames, rows, columns), the values of a row side by side; they are taken in that order, whatever lies between.
struct BitPlanesSource {
    const std::uint32_t* first;
    std::int64_t frame_step, row_step;
    std::int64_t frames, rows, columns;

    std::int64_t values() const { return frames * rows * columns; }
};

// Writes blocks of `block` values each to `target`, the last one of what is left. Bit k of a byte is the k-th of its
// eight values'. The number of values, and `block`, are multiples of 8; vectors have `most_bytes` at most.
void bit_planes(const BitPlanesSource& source, std::int64_t block, std::uint8_t* target, int most_bytes = 64);

// Bytes of the vectors that it computes with here: 64, 32, or 8 without any.
int bit_planes_bytes();

}  // namespace gfs_sr
