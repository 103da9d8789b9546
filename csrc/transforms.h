// Pointwise transforms of physical values, to the bit those of gfs_sr/data/transforms.py: sums and products of doubles
// in a fixed order, no mathematical library. Written without branches, so that the loops around them vectorize.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// A call in a loop would keep it from being vectorized.
#if defined(__GNUC__)
#define GFS_SR_INLINE __attribute__((always_inline)) inline
#else
#define GFS_SR_INLINE inline
#endif

namespace gfs_sr {

enum class Transform : std::uint8_t { linear, log10_1p, sqrt };

constexpr std::uint8_t transforms = 3;

// log10(1 + x) of x >= 0: 1 + x = 2^k·m with m in [√½, √2), and ln m = 2·artanh((m - 1)/(m + 1)).
GFS_SR_INLINE double log10_1p(double x) {
    constexpr double log10_of_2 = 0.30102999566398119521;
    constexpr double twice_log10_of_e = 2 * 0.43429448190325182765;
    constexpr std::uint64_t half_root = 0x3FE6A09E667F3BCDULL;  // bits of the square root of one half
    constexpr double count = 0x1.0p52;  // added to a whole number below 2^52, the sum's low bits are that number
    const auto bits = std::bit_cast<std::uint64_t>(1.0 + x);
    const std::uint64_t k = (bits - half_root) >> 52;
    const auto mantissa = std::bit_cast<double>(bits - (k << 52));
    const double exponent = std::bit_cast<double>(k + std::bit_cast<std::uint64_t>(count)) - count;
    const double f = k == 0 ? x : mantissa - 1.0;  // x itself keeps the digits that 1 + x loses
    const double s = f / (2.0 + f);
    const double square = s * s;
    double series = 1.0 / 17;
    series = series * square + 1.0 / 15;
    series = series * square + 1.0 / 13;
    series = series * square + 1.0 / 11;
    series = series * square + 1.0 / 9;
    series = series * square + 1.0 / 7;
    series = series * square + 1.0 / 5;
    series = series * square + 1.0 / 3;
    series = series * square + 1.0;
    return exponent * log10_of_2 + twice_log10_of_e * s * series;
}

// 10^u - 1 of u >= 0: 10^u = 2^k·e^f with f within ± ln 2 / 2, and the series of e^f - 1.
GFS_SR_INLINE double power_of_10_less_1(double u) {
    constexpr double log2_of_10 = 3.32192809488736234787;
    constexpr double ln_of_2 = 0.69314718055994530942;
    constexpr double largest = 40.0;    // 10^40 is beyond float
    constexpr double round = 0x1.8p52;  // added to a double below 2^51, the sum is rounded to a whole number
    const double t = (u < largest ? u : largest) * log2_of_10;
    const double rounded = t + round;
    const double f = (t - (rounded - round)) * ln_of_2;
    double series = 1.0 / 479001600;
    series = series * f + 1.0 / 39916800;
    series = series * f + 1.0 / 3628800;
    series = series * f + 1.0 / 362880;
    series = series * f + 1.0 / 40320;
    series = series * f + 1.0 / 5040;
    series = series * f + 1.0 / 720;
    series = series * f + 1.0 / 120;
    series = series * f + 1.0 / 24;
    series = series * f + 1.0 / 6;
    series = series * f + 1.0 / 2;
    series = series * f + 1.0;
    const std::uint64_t k = std::bit_cast<std::uint64_t>(rounded) - std::bit_cast<std::uint64_t>(round);
    const auto power = std::bit_cast<double>((k + 1023) << 52);
    return (power - 1.0) + power * (f * series);
}

// The physical value `x` transformed; amounts below 0 count as 0, NaN stays NaN.
template <Transform transform>
GFS_SR_INLINE float transformed(float x) {
    if constexpr (transform == Transform::linear) {
        return x;
    } else {
        const float amount = x > 0.0F ? x : 0.0F;
        float bent = 0.0F;
        if constexpr (transform == Transform::log10_1p) {
            bent = static_cast<float>(log10_1p(static_cast<double>(amount)));
        } else {
            bent = std::sqrt(amount);
        }
        return x == x ? bent : x;
    }
}

// The inverse: never below 0 but for the linear one, NaN stays NaN.
template <Transform transform>
GFS_SR_INLINE float restored(float bent) {
    if constexpr (transform == Transform::linear) {
        return bent;
    } else {
        const float positive = bent > 0.0F ? bent : 0.0F;
        float x = 0.0F;
        if constexpr (transform == Transform::log10_1p) {
            x = static_cast<float>(power_of_10_less_1(static_cast<double>(positive)));
        } else {
            x = positive * positive;
        }
        return bent == bent ? x : bent;
    }
}

}  // namespace gfs_sr
