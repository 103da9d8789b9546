// Kernels on one run of cells: normalize, denormalize, cast, store. The processor is asked at run time what it can.
#pragma once

#include <cstddef>
#include <cstdint>

#include "transforms.h"

namespace gfs_sr {

enum class Element { float32, float16, bfloat16 };

constexpr std::size_t size_of(Element element) { return element == Element::float32 ? 4 : 2; }

// How one channel is normalized: (g(sign · x) - offset) · scale, and `fill` where that is NaN.
struct ChannelScaling {
    Transform transform;  // g
    float sign;
    float offset;
    float scale;
    float fill;
};

// And brought back: g⁻¹(z · scale + offset), held between low and high.
struct ChannelInverse {
    Transform transform;
    float offset;
    float scale;
    float low;
    float high;
};

// Rows of `count` cells, each `source_stride` and `target_stride` cells behind the one before.
void normalize_rows(const float* source, std::int64_t source_stride, float* target, std::int64_t target_stride,
                    std::int64_t rows, std::int64_t count, ChannelScaling scaling);

// One row of `count` cells; NaN stays NaN.
void denormalize_row(const float* source, float* target, std::int64_t count, ChannelInverse inverse);

// Rounds to nearest, ties to even. Elements of 2 bytes are handled as their bits.
void to_half(const float* source, std::uint16_t* target, std::int64_t count);
void to_bfloat(const float* source, std::uint16_t* target, std::int64_t count);
void from_half(const std::uint16_t* source, float* target, std::int64_t count);
void from_bfloat(const std::uint16_t* source, float* target, std::int64_t count);

// The same without the processor's own conversion: what it must equal, and what runs where there is none.
void to_half_portable(const float* source, std::uint16_t* target, std::int64_t count);
void from_half_portable(const std::uint16_t* source, float* target, std::int64_t count);

// Copies past the caches, for targets larger than them: plain stores would read each line before writing it.
void copy_streaming(const void* source, void* target, std::size_t bytes);

}  // namespace gfs_sr
