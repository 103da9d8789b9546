#include <immintrin.h>

#include <cstring>

#include "bit_planes_group.h"

namespace gfs_sr {

void bit_planes_group_avx512(const std::uint32_t* values, BitPlanesGroup& planes) {
    // byte j of the four values of a quarter, side by side; then those of all quarters
    const __m512i by_byte = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i across = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int part = 0; part < BitPlanesGroup::values / 64; ++part) {
        __m512i v[4];
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t* const from = values + 64 * part + 16 * i;
            __builtin_prefetch(from + BitPlanesGroup::ahead);
            const __m512i four = _mm512_loadu_si512(from);
            v[i] = _mm512_permutexvar_epi32(across, _mm512_shuffle_epi8(four, by_byte));
        }
        // sixteen bytes of each of the four become 64 of one
        const __m512i low_01 = _mm512_shuffle_i32x4(v[0], v[1], 0x44), high_01 = _mm512_shuffle_i32x4(v[0], v[1], 0xEE);
        const __m512i low_23 = _mm512_shuffle_i32x4(v[2], v[3], 0x44), high_23 = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
        const __m512i bytes[4] = {_mm512_shuffle_i32x4(low_01, low_23, 0x88), _mm512_shuffle_i32x4(low_01, low_23, 0xDD),
                                  _mm512_shuffle_i32x4(high_01, high_23, 0x88), _mm512_shuffle_i32x4(high_01, high_23, 0xDD)};
        for (int j = 0; j < 4; ++j) {
            __m512i left = bytes[j];
            for (int bit = 7; bit >= 0; --bit) {
                const std::uint64_t mask = _cvtmask64_u64(_mm512_movepi8_mask(left));
                std::memcpy(planes.bits[8 * j + bit] + 8 * part, &mask, sizeof mask);
                left = _mm512_add_epi8(left, left);
            }
        }
    }
}

}  // namespace gfs_sr
