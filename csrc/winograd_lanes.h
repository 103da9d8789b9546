// The convolution of winograd.h in vectors of LANES floats; each processor's own file includes this once.
//
// A strip of tiles goes through three steps: inputs become 36 planes of (channel, tile); then, for a few outputs at a
// time, each plane is multiplied by its weights, and 36 planes of (output, tile) become outputs before they leave the
// caches. Lanes are tiles. The planes of one channel lie together, so that they are written and read where they just
// were. Fields are larger than those caches: the next channel's rows are fetched while one is computed.
#include <algorithm>
#include <cstring>
#include <utility>
#if GFS_SR_LANES == 16
#include <immintrin.h>
#endif

#include "winograd.h"


namespace gfs_sr {
namespace GFS_SR_LANES_NAMESPACE {

inline constexpr std::int64_t lanes = GFS_SR_LANES;
inline constexpr std::int64_t wide = GFS_SR_LANES >= 8 ? 3 : 2;  // vectors of tiles in the registers of one product
inline constexpr std::int64_t cell = WinogradConvolution::tile;
inline constexpr std::int64_t points = 6;
static_assert(WinogradConvolution::outputs_at_once % GFS_SR_OUTPUTS == 0);

using Vector = float __attribute__((vector_size(GFS_SR_LANES * sizeof(float))));
using Indices = std::int32_t __attribute__((vector_size(GFS_SR_LANES * sizeof(float))));

inline Vector load(const float* source) {
    Vector value;
    std::memcpy(&value, source, sizeof value);
    return value;
}

inline void store(float* target, Vector value) { std::memcpy(target, &value, sizeof value); }

// The first `count` values, and 0 in the other lanes: none or all of them, if there are so few or so many.
inline Vector load_first(const float* source, std::int64_t count) {
    if (count >= lanes) return load(source);
    if (count <= 0) return Vector{};
#if GFS_SR_LANES == 16
    return (Vector)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), source);
#else
    alignas(64) float first[lanes] = {};
    std::copy(source, source + count, first);
    return load(first);
#endif
}

inline void store_first(float* target, Vector value, std::int64_t count) {
    if (count >= lanes) return store(target, value);
    if (count <= 0) return;
#if GFS_SR_LANES == 16
    _mm512_mask_storeu_ps(target, static_cast<__mmask16>((1U << count) - 1U), (__m512)value);
#else
    alignas(64) float all[lanes];
    store(all, value);
    std::copy(all, all + count, target);
#endif
}

// The lines of the cache that hold the values of four vectors, for reading or for writing.
template <int writes>
inline void fetch(const float* first) {
    for (std::int64_t j = 0; j < cell; ++j) __builtin_prefetch(first + j * lanes, writes);
}

template <typename Index, int... i>
constexpr Indices listed(Index index, std::integer_sequence<int, i...>) {
    return Indices{index(i)...};
}

template <typename Index>
constexpr Indices indices(Index index) {
    return listed(index, std::make_integer_sequence<int, GFS_SR_LANES>{});
}

// Values x[4i + j] of four vectors become vector j.
inline void split_by_four(const Vector* x, Vector* phase) {
    constexpr int half = GFS_SR_LANES / 2;
    constexpr Indices even = indices([](int i) { return i < half ? 4 * i : 4 * (i - half) + 2; });
    constexpr Indices odd = indices([](int i) { return i < half ? 4 * i + 1 : 4 * (i - half) + 3; });
    constexpr Indices low = indices([](int i) { return i < half ? i : i + half; });
    constexpr Indices high = indices([](int i) { return i < half ? i + half : i + 2 * half; });
    const Vector first_even = __builtin_shuffle(x[0], x[1], even), first_odd = __builtin_shuffle(x[0], x[1], odd);
    const Vector second_even = __builtin_shuffle(x[2], x[3], even), second_odd = __builtin_shuffle(x[2], x[3], odd);
    phase[0] = __builtin_shuffle(first_even, second_even, low);
    phase[1] = __builtin_shuffle(first_odd, second_odd, low);
    phase[2] = __builtin_shuffle(first_even, second_even, high);
    phase[3] = __builtin_shuffle(first_odd, second_odd, high);
}

// The other way round.
inline void join_by_four(const Vector* phase, Vector* joined) {
    constexpr int half = GFS_SR_LANES / 2;
    constexpr Indices low = indices([](int i) { return i % 2 * GFS_SR_LANES + i / 2; });
    constexpr Indices high = indices([](int i) { return i % 2 * GFS_SR_LANES + half + i / 2; });
    constexpr auto pair = [](int i) { return i % 4 / 2 * GFS_SR_LANES + i / 4 * 2 + i % 2; };
    constexpr Indices first = indices(pair);
    constexpr Indices second = indices([=](int i) { return pair(i) + half; });
    const Vector low01 = __builtin_shuffle(phase[0], phase[1], low), high01 = __builtin_shuffle(phase[0], phase[1], high);
    const Vector low23 = __builtin_shuffle(phase[2], phase[3], low), high23 = __builtin_shuffle(phase[2], phase[3], high);
    joined[0] = __builtin_shuffle(low01, low23, first);
    joined[1] = __builtin_shuffle(low01, low23, second);
    joined[2] = __builtin_shuffle(high01, high23, first);
    joined[3] = __builtin_shuffle(high01, high23, second);
}

// Source: Cook and Toom's construction as in Lavin and Gray 2016, at 0, ±1/√2, ±√2 and infinity: a² = 1/2, b² = 2.
inline constexpr float a = 0.70710678118654752440F, b = 1.41421356237309504880F;

inline void input_transform(const Vector* d, std::int64_t step, Vector* v, std::int64_t v_step) {
    const Vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const Vector even_a = d4 - 2.0F * d2, odd_a = a * d3 - (2.0F * a) * d1;
    const Vector even_b = d4 - 0.5F * d2, odd_b = b * d3 - (0.5F * b) * d1;
    v[0] = (d0 + d4) - 2.5F * d2;
    v[v_step] = even_a + odd_a;
    v[2 * v_step] = even_a - odd_a;
    v[3 * v_step] = even_b + odd_b;
    v[4 * v_step] = even_b - odd_b;
    v[5 * v_step] = (d1 + d5) - 2.5F * d3;
}

inline void output_transform(const Vector* m, std::int64_t step, Vector* y, std::int64_t y_step) {
    const Vector sum_a = m[step] + m[2 * step], difference_a = a * (m[step] - m[2 * step]);
    const Vector sum_b = m[3 * step] + m[4 * step], difference_b = b * (m[3 * step] - m[4 * step]);
    y[0] = m[0] + sum_a + sum_b;
    y[y_step] = difference_a + difference_b;
    y[2 * y_step] = 0.5F * sum_a + 2.0F * sum_b;
    y[3 * y_step] = 0.5F * difference_a + 2.0F * difference_b + m[5 * step];
}

// Five vectors of six rows, transformed along the columns: tiles overlap by two values, which for the last one are the
// fifth vector's. `rows` and `left` values of a row are there; what lies beyond counts as 0.
inline void transform_down(const float* const* six, std::int64_t rows, std::int64_t left, Vector* down) {
    for (std::int64_t j = 0; j <= cell; ++j) {
        Vector d[points];
        for (std::int64_t i = 0; i < points; ++i) {
            d[i] = i < rows ? load_first(six[i] + j * lanes, left - j * lanes) : Vector{};
        }
        input_transform(d, 1, down + j, cell + 1);
    }
}

inline void transform_inputs(const WinogradJob& job, const WinogradStrip& strip, float* planes) {
    constexpr Indices after_0 = indices([](int i) { return i + 1; });
    constexpr Indices after_1 = indices([](int i) { return i + 1 < GFS_SR_LANES ? i + 1 : GFS_SR_LANES + 1; });
    for (std::int64_t c = 0; c < job.inputs; ++c) {
        const std::int64_t ahead = std::min(c + 1, job.inputs - 1);
        for (std::int64_t r = strip.first; r < strip.stop; ++r) {
            const std::int64_t frame = r / job.tile_rows, y = cell * (r % job.tile_rows);
            const std::int64_t rows = std::min(points, job.height - y - job.down(c));
            const float* six[points];
            const float* next[points];
            for (std::int64_t i = 0; i < points; ++i) {
                six[i] = job.row(frame, c, i < rows ? y + i : 0);
                next[i] = job.row(frame, ahead, i < rows ? y + i : 0);
            }
            float* target = planes + c * job.channel_step + (r - strip.first) * job.tile_columns;
            for (std::int64_t t = 0; t < job.tile_columns; t += lanes) {
                Vector down[points * (cell + 1)];
                transform_down(six, rows, job.width - job.right(c) - cell * t, down);
                for (std::int64_t i = 0; i < points; ++i) {
                    fetch<0>(next[i]);
                    const Vector* across = down + i * (cell + 1);
                    Vector d[points], v[points];
                    split_by_four(across, d);
                    d[4] = __builtin_shuffle(d[0], across[cell], after_0);
                    d[5] = __builtin_shuffle(d[1], across[cell], after_1);
                    input_transform(d, 1, v, 1);
                    // lanes beyond the tile row are overwritten by the next one, which comes later
                    for (std::int64_t j = 0; j < points; ++j) store(target + (i * points + j) * job.plane_row + t, v[j]);
                    six[i] += cell * lanes;
                    next[i] += cell * lanes;
                }
            }
        }
    }
}

template <std::int64_t vectors>
inline void multiply_block(const float* weights, const float* inputs, std::int64_t input_step, std::int64_t channels,
                           float* products, std::int64_t product_step) {
    Vector sum[GFS_SR_OUTPUTS][vectors] = {};
    for (std::int64_t c = 0; c < channels; ++c) {
        Vector x[vectors];
        for (std::int64_t i = 0; i < vectors; ++i) x[i] = load(inputs + c * input_step + i * lanes);
        for (std::int64_t k = 0; k < GFS_SR_OUTPUTS; ++k) {
            const float weight = weights[c * WinogradConvolution::outputs_at_once + k];
            for (std::int64_t i = 0; i < vectors; ++i) sum[k][i] += weight * x[i];
        }
    }
    for (std::int64_t k = 0; k < GFS_SR_OUTPUTS; ++k) {
        for (std::int64_t i = 0; i < vectors; ++i) store(products + k * product_step + i * lanes, sum[k][i]);
    }
}

// The products of outputs that lie side by side.
inline void multiply(const WinogradJob& job, std::int64_t group, std::int64_t vectors, const float* planes,
                     float* products) {
    constexpr std::int64_t together = WinogradConvolution::outputs_at_once;
    for (std::int64_t plane = 0; plane < points * points; ++plane) {
        const float* weights = job.weights + (group * points * points + plane) * job.inputs * together;
        for (std::int64_t first = 0; first < vectors; first += wide) {
            const float* inputs = planes + plane * job.plane_row + first * lanes;
            const std::int64_t count = std::min(wide, vectors - first);
            for (std::int64_t k = 0; k < together; k += GFS_SR_OUTPUTS) {
                const float* own = weights + k;
                float* target = products + plane * job.plane_row + k * job.channel_step + first * lanes;
                switch (count) {
                    case 1: multiply_block<1>(own, inputs, job.channel_step, job.inputs, target, job.channel_step); break;
                    case 2: multiply_block<2>(own, inputs, job.channel_step, job.inputs, target, job.channel_step); break;
                    default: multiply_block<wide>(own, inputs, job.channel_step, job.inputs, target, job.channel_step);
                }
            }
        }
    }
}

inline void transform_outputs(const WinogradJob& job, const WinogradStrip& strip, std::int64_t group,
                              const float* products) {
    const std::int64_t height = job.output_height, width = job.output_width;
    constexpr std::int64_t margin = WinogradConvolution::skip_margin, together = WinogradConvolution::outputs_at_once;
    const bool skips = job.skip.first != nullptr;
    const std::int64_t first = group * together, stop = std::min(first + together, job.outputs);
    for (std::int64_t k = first; k < stop; ++k) {
        const std::int64_t ahead = std::min(k + 1, job.outputs - 1);
        const float bias = job.bias[k];
        for (std::int64_t r = strip.first; r < strip.stop; ++r) {
            const std::int64_t frame = r / job.tile_rows, y = cell * (r % job.tile_rows);
            const float* source = products + (k - first) * job.channel_step + (r - strip.first) * job.tile_columns;
            const std::int64_t rows = std::min(cell, height - y);
            for (std::int64_t t = 0; t < job.tile_columns; t += lanes) {
                Vector across[points * cell], m[points], out[cell * cell];
                for (std::int64_t i = 0; i < points; ++i) {
                    for (std::int64_t j = 0; j < points; ++j) m[j] = load(source + (i * points + j) * job.plane_row + t);
                    output_transform(m, 1, across + i * cell, 1);
                }
                for (std::int64_t j = 0; j < cell; ++j) output_transform(across + j, cell, out + j, cell);
                const std::int64_t x = cell * t;
                for (std::int64_t i = 0; i < rows; ++i) {
                    fetch<1>(job.target.row(frame, ahead, y + i) + x);
                    for (std::int64_t j = 0; j < cell; ++j) {
                        Vector value = out[i * cell + j] + bias;
                        out[i * cell + j] = job.relu ? (value > 0.0F ? value : Vector{}) : value;
                    }
                    float* row = job.target.row(frame, k, y + i) + x;
                    Vector joined[cell];
                    join_by_four(out + i * cell, joined);
                    if (skips) {
                        fetch<0>(job.skip.row(frame, ahead, y + i + margin) + margin + x);
                        const float* skip = job.skip.row(frame, k, y + i + margin) + margin + x;
                        for (std::int64_t j = 0; j < cell; ++j) {
                            joined[j] += load_first(skip + j * lanes, width - x - j * lanes);
                        }
                    }
                    for (std::int64_t j = 0; j < cell; ++j) {
                        store_first(row + j * lanes, joined[j], width - x - j * lanes);
                    }
                }
            }
        }
    }
}

void convolve_strip(const WinogradJob& job, const WinogradStrip& strip, float* workspace) {
    const std::int64_t tiles = (strip.stop - strip.first) * job.tile_columns;
    float* products = workspace + job.inputs * job.channel_step;
    transform_inputs(job, strip, workspace);
    for (std::int64_t group = 0; group < job.padded_outputs / WinogradConvolution::outputs_at_once; ++group) {
        multiply(job, group, (tiles + lanes - 1) / lanes, workspace, products);
        transform_outputs(job, strip, group, products);
    }
}

}  // namespace GFS_SR_LANES_NAMESPACE
}  // namespace gfs_sr
