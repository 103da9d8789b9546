#include <immintrin.h>

#include <cstring>

#include "bit_planes_group.h"

namespace gfs_sr {

void bit_planes_group_avx2(const std::uint32_t* values, BitPlanesGroup& planes) {
    // byte j of the four values of a half, side by side; then those of both halves
    const __m256i by_byte = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                             0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i across = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int part = 0; part < BitPlanesGroup::values / 32; ++part) {
        __m256i v[4];
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t* const from = values + 32 * part + 8 * i;
            if (i % 2 == 0) __builtin_prefetch(from + BitPlanesGroup::ahead);
            const __m256i four = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
            v[i] = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(four, by_byte), across);
        }
        // eight bytes of each of the four become 32 of one
        const __m256i low_01 = _mm256_unpacklo_epi64(v[0], v[1]), high_01 = _mm256_unpackhi_epi64(v[0], v[1]);
        const __m256i low_23 = _mm256_unpacklo_epi64(v[2], v[3]), high_23 = _mm256_unpackhi_epi64(v[2], v[3]);
        const __m256i bytes[4] = {
            _mm256_permute2x128_si256(low_01, low_23, 0x20), _mm256_permute2x128_si256(high_01, high_23, 0x20),
            _mm256_permute2x128_si256(low_01, low_23, 0x31), _mm256_permute2x128_si256(high_01, high_23, 0x31)};
        for (int j = 0; j < 4; ++j) {
            __m256i left = bytes[j];
            for (int bit = 7; bit >= 0; --bit) {
                const int mask = _mm256_movemask_epi8(left);
                std::memcpy(planes.bits[8 * j + bit] + 4 * part, &mask, sizeof mask);
                left = _mm256_add_epi8(left, left);
            }
        }
    }
}

}  // namespace gfs_sr
