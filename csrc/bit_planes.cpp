#include "bit_planes.h"

#include <algorithm>
#include <cstring>

#include "bit_planes_group.h"

namespace gfs_sr {
namespace {

// Eight bytes as rows of eight bits: rows become columns.
std::uint64_t transposed(std::uint64_t bits) {
    std::uint64_t t = (bits ^ (bits >> 7)) & 0x00AA00AA00AA00AAULL;
    bits ^= t ^ (t << 7);
    t = (bits ^ (bits >> 14)) & 0x0000CCCC0000CCCCULL;
    bits ^= t ^ (t << 14);
    t = (bits ^ (bits >> 28)) & 0x00000000F0F0F0F0ULL;
    return bits ^ t ^ (t << 28);
}

void group_plain(const std::uint32_t* values, BitPlanesGroup& planes) {
    for (int byte = 0; byte < 4; ++byte) {
        for (int n = 0; n < BitPlanesGroup::bytes; ++n) {
            std::uint64_t bits = 0;
            for (int k = 0; k < 8; ++k) {
                bits |= static_cast<std::uint64_t>(values[8 * n + k] >> (8 * byte) & 0xFFU) << (8 * k);
            }
            bits = transposed(bits);
            for (int k = 0; k < 8; ++k) planes.bits[8 * byte + k][n] = static_cast<std::uint8_t>(bits >> (8 * k));
        }
    }
}

struct Kernel {
    int bytes;
    void (*group)(const std::uint32_t*, BitPlanesGroup&);
};

Kernel widest(int most_bytes) {
#if defined(__x86_64__)
    if (most_bytes >= 64 && __builtin_cpu_supports("avx512bw")) return {64, bit_planes_group_avx512};
    if (most_bytes >= 32 && __builtin_cpu_supports("avx2")) return {32, bit_planes_group_avx2};
#endif
    return {8, group_plain};
}

// Hands out the values of a source in their order.
class Reader {
   public:
    explicit Reader(const BitPlanesSource& source) : source_(source), row_(source.first), left_(source.columns) {}

    // The next `count`: where they lie, or gathered in `room`.
    const std::uint32_t* next(std::int64_t count, std::uint32_t* room) {
        if (left_ == 0) advance();
        if (left_ >= count && count == BitPlanesGroup::values) {
            const std::uint32_t* const here = row_;
            row_ += count;
            left_ -= count;
            return here;
        }
        for (std::int64_t done = 0; done < count;) {
            if (left_ == 0) advance();
            const std::int64_t part = std::min(left_, count - done);
            std::copy(row_, row_ + part, room + done);
            row_ += part;
            left_ -= part;
            done += part;
        }
        return room;
    }

   private:
    void advance() {
        if (++y_ == source_.rows) {
            y_ = 0;
            ++frame_;
        }
        row_ = source_.first + frame_ * source_.frame_step + y_ * source_.row_step;
        left_ = source_.columns;
    }

    BitPlanesSource source_;
    const std::uint32_t* row_;
    std::int64_t left_, frame_ = 0, y_ = 0;
};

}  // namespace

int bit_planes_bytes() { return widest(64).bytes; }

void bit_planes(const BitPlanesSource& source, std::int64_t block, std::uint8_t* target, int most_bytes) {
    const Kernel kernel = widest(most_bytes);
    Reader reader(source);
    BitPlanesGroup planes;
    std::uint32_t room[BitPlanesGroup::values] = {};
    for (std::int64_t left = source.values(); left > 0;) {
        const std::int64_t values = std::min(block, left), plane_step = values / 8;
        for (std::int64_t done = 0; done < values; done += BitPlanesGroup::values) {
            const std::int64_t count = std::min<std::int64_t>(BitPlanesGroup::values, values - done);
            kernel.group(reader.next(count, room), planes);
            std::uint8_t* to = target + done / 8;
            if (count == BitPlanesGroup::values) {
                for (int plane = 0; plane < 32; ++plane) {
                    std::memcpy(to + plane * plane_step, planes.bits[plane], BitPlanesGroup::bytes);
                }
            } else {
                for (int plane = 0; plane < 32; ++plane) {
                    std::copy(planes.bits[plane], planes.bits[plane] + count / 8, to + plane * plane_step);
                }
            }
        }
        target += values * 4;
        left -= values;
    }
}

}  // namespace gfs_sr
