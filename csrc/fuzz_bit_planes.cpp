// Random shapes -> planes -> their values again, with vectors of every width. usage: fuzz_bit_planes [rounds]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "bit_planes.h"
#include "fuzz.h"

namespace {

using namespace gfs_sr;

// Buffers are exactly as large as promised, so that the sanitizer sees a step beyond them.
void round(std::mt19937& random) {
    const auto below = [&](std::int64_t limit) { return gfs_sr::below(random, limit); };
    const std::int64_t frames = 1 + below(3), rows = 1 + below(20), columns = 8 * (1 + below(150));
    const std::int64_t row_step = columns + below(9), frame_step = rows * row_step + below(9);
    const std::int64_t block = 8 * (1 + below(300));
    std::vector<std::uint32_t> source(index((frames - 1) * frame_step + (rows - 1) * row_step + columns));
    for (std::uint32_t& value : source) value = static_cast<std::uint32_t>(random());
    const BitPlanesSource values{source.data(), frame_step, row_step, frames, rows, columns};
    for (const int most_bytes : {64, 32, 8}) {
        std::vector<std::uint8_t> planes(index(4 * values.values()));
        bit_planes(values, block, planes.data(), most_bytes);
        for (std::int64_t n = 0; n < values.values(); ++n) {
            const std::int64_t first = n / block * block, size = std::min(block, values.values() - first);
            std::uint32_t found = 0;
            for (std::int64_t bit = 0; bit < 32; ++bit) {
                const std::uint8_t byte = planes[index(4 * first + bit * (size / 8) + (n - first) / 8)];
                found |= static_cast<std::uint32_t>(byte >> (n - first) % 8 & 1U) << bit;
            }
            const std::int64_t row = n / columns;
            const std::uint32_t value =
                source[index(row / rows * frame_step + row % rows * row_step + n % columns)];
            if (found != value) {
                std::fprintf(stderr, "fuzz_bit_planes: %u, not %u, of value %ld in blocks of %ld, %d bytes\n", found,
                             value, static_cast<long>(n), static_cast<long>(block), most_bytes);
                std::abort();
            }
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    gfs_sr::fuzz("fuzz_bit_planes", count, arguments, 1000, [](std::mt19937& random) { round(random); });
}
