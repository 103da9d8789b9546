#include "rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// One build serves every processor: the loader picks the widest clone. Sanitizers run before the resolvers can.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(GFS_SR_SANITIZED)
#define GFS_SR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GFS_SR_CLONES
#endif

namespace gfs_sr {
namespace {

std::uint16_t half_of(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    std::uint32_t half = 0;
    if (magnitude > 0x7F800000U) {
        half = 0x7E00U | ((magnitude >> 13) & 0x3FFU);  // NaN, made quiet
    } else if (magnitude >= 0x477FF000U) {
        half = 0x7C00U;  // 65520 and above round to infinity
    } else if (magnitude >= 0x38800000U) {
        const std::uint32_t odd = (magnitude >> 13) & 1U;
        half = (magnitude - 0x38000000U + 0xFFFU + odd) >> 13;
    } else if (magnitude > 0x33000000U) {  // subnormal; 2^-25 and below round to zero
        const std::uint32_t shift = 126U - (magnitude >> 23);
        const std::uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
        const std::uint32_t odd = (mantissa >> shift) & 1U;
        half = (mantissa + (1U << (shift - 1)) - 1U + odd) >> shift;
    }
    return static_cast<std::uint16_t>(sign | half);
}

float float_of(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t mantissa = half & 0x3FFU;
    if (exponent == 0) {  // subnormal: a multiple of 2^-24, exact in float
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
    }
    const std::uint32_t widened = exponent == 0x1FU ? 0x7F800000U : (exponent + 112U) << 23;
    const std::uint32_t quiet = exponent == 0x1FU && mantissa != 0 ? 0x400000U : 0U;
    return std::bit_cast<float>(sign | widened | (mantissa << 13) | quiet);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx,f16c"))) void to_half_f16c(const float* source, std::uint16_t* target, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(source + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target + i), half);
    }
    to_half_portable(source + i, target + i, count - i);
}

__attribute__((target("avx,f16c"))) void from_half_f16c(const std::uint16_t* source, float* target,
                                                        std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i));
        _mm256_storeu_ps(target + i, _mm256_cvtph_ps(half));
    }
    from_half_portable(source + i, target + i, count - i);
}

bool has_f16c() { return __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c"); }
#else
void to_half_f16c(const float* source, std::uint16_t* target, std::int64_t count) {
    to_half_portable(source, target, count);
}
void from_half_f16c(const std::uint16_t* source, float* target, std::int64_t count) {
    from_half_portable(source, target, count);
}
bool has_f16c() { return false; }
#endif

// Inlined, so that every clone of the caller has loops of its own, and the linear one holds no test.
template <Transform transform>
GFS_SR_INLINE void normalize_as(const float* __restrict source, std::int64_t source_stride, float* __restrict target,
                                std::int64_t target_stride, std::int64_t rows, std::int64_t count,
                                const ChannelScaling& scaling) {
    const float sign = scaling.sign, offset = scaling.offset, scale = scaling.scale, fill = scaling.fill;
    for (std::int64_t y = 0; y < rows; ++y) {
        for (std::int64_t i = 0; i < count; ++i) {
            const float value = (transformed<transform>(sign * source[i]) - offset) * scale;
            target[i] = value == value ? value : fill;
        }
        source += source_stride;
        target += target_stride;
    }
}

template <Transform transform>
GFS_SR_INLINE void denormalize_as(const float* __restrict source, float* __restrict target, std::int64_t count,
                                  const ChannelInverse& inverse) {
    const float offset = inverse.offset, scale = inverse.scale, low = inverse.low, high = inverse.high;
    for (std::int64_t i = 0; i < count; ++i) {
        float value = restored<transform>(source[i] * scale + offset);
        value = value < low ? low : value;
        target[i] = value > high ? high : value;
    }
}

}  // namespace

GFS_SR_CLONES
void normalize_rows(const float* __restrict source, std::int64_t source_stride, float* __restrict target,
                    std::int64_t target_stride, std::int64_t rows, std::int64_t count, ChannelScaling scaling) {
    switch (scaling.transform) {
        case Transform::linear:
            return normalize_as<Transform::linear>(source, source_stride, target, target_stride, rows, count, scaling);
        case Transform::log10_1p:
            return normalize_as<Transform::log10_1p>(source, source_stride, target, target_stride, rows, count, scaling);
        case Transform::sqrt:
            return normalize_as<Transform::sqrt>(source, source_stride, target, target_stride, rows, count, scaling);
    }
}

GFS_SR_CLONES
void denormalize_row(const float* __restrict source, float* __restrict target, std::int64_t count,
                     ChannelInverse inverse) {
    switch (inverse.transform) {
        case Transform::linear: return denormalize_as<Transform::linear>(source, target, count, inverse);
        case Transform::log10_1p: return denormalize_as<Transform::log10_1p>(source, target, count, inverse);
        case Transform::sqrt: return denormalize_as<Transform::sqrt>(source, target, count, inverse);
    }
}

GFS_SR_CLONES
void to_bfloat(const float* __restrict source, std::uint16_t* __restrict target, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, source + i, sizeof bits);
        const std::uint32_t rounded = bits + 0x7FFFU + ((bits >> 16) & 1U);
        const std::uint32_t quiet = bits | 0x400000U;
        const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
        target[i] = static_cast<std::uint16_t>((is_nan ? quiet : rounded) >> 16);
    }
}

GFS_SR_CLONES
void from_bfloat(const std::uint16_t* __restrict source, float* __restrict target, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(source[i]) << 16;
        std::memcpy(target + i, &bits, sizeof bits);
    }
}

void to_half_portable(const float* source, std::uint16_t* target, std::int64_t count) {
    std::transform(source, source + count, target, half_of);
}

void from_half_portable(const std::uint16_t* source, float* target, std::int64_t count) {
    std::transform(source, source + count, target, float_of);
}

void to_half(const float* source, std::uint16_t* target, std::int64_t count) {
    (has_f16c() ? to_half_f16c : to_half_portable)(source, target, count);
}

void from_half(const std::uint16_t* source, float* target, std::int64_t count) {
    (has_f16c() ? from_half_f16c : from_half_portable)(source, target, count);
}

#if defined(__x86_64__) && defined(__GNUC__)
namespace {

constexpr std::size_t line = 64;

__attribute__((target("avx"))) void stream_lines_avx(const unsigned char* from, unsigned char* to, std::size_t lines) {
    for (std::size_t at = 0; at < lines * line; at += line) {
        const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
        const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at + line / 2));
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to + at), low);
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to + at + line / 2), high);
    }
}

void stream_lines(const unsigned char* from, unsigned char* to, std::size_t lines) {
    for (std::size_t at = 0; at < lines * line; at += sizeof(__m128i)) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
    }
}

}  // namespace
#endif

void copy_streaming(const void* source, void* target, std::size_t bytes) {
#if defined(__x86_64__) && defined(__GNUC__)
    const auto* from = static_cast<const unsigned char*>(source);
    auto* to = static_cast<unsigned char*>(target);
    // whole lines only: a line written in part past the caches costs a read and a second write
    const std::size_t head = std::min(bytes, (line - reinterpret_cast<std::uintptr_t>(to) % line) % line);
    const std::size_t lines = (bytes - head) / line;
    std::memcpy(to, from, head);
    (__builtin_cpu_supports("avx") ? stream_lines_avx : stream_lines)(from + head, to + head, lines);
    const std::size_t done = head + lines * line;
    std::memcpy(to + done, from + done, bytes - done);
    _mm_sfence();
#else
    std::memcpy(target, source, bytes);
#endif
}

}  // namespace gfs_sr
