#include "stencil.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "thread_pool.h"

// one body for all processors; a sanitizer starts later than what chooses between them
#if defined(__x86_64__) && defined(__linux__) && !defined(GFS_SR_SANITIZED)
#define GFS_SR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GFS_SR_EVERY_PROCESSOR
#endif

namespace gfs_sr {
namespace {

constexpr std::int64_t lanes = 16, vectors = 4, together = lanes * vectors;  // sums that stay in the registers
using Vector = float __attribute__((vector_size(lanes * sizeof(float))));

// One row of one output: `count` values, each the sum over the stencil.
GFS_SR_EVERY_PROCESSOR
void convolve_row(const float* weight, std::int64_t rows, std::int64_t columns, const float* source,
                  std::int64_t row_step, float* target, std::int64_t count) {
    std::int64_t x = 0;
    for (; x + together <= count; x += together) {
        Vector sum[vectors] = {};
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) {
                const float factor = weight[i * columns + j];
                for (std::int64_t v = 0; v < vectors; ++v) {
                    Vector value;
                    std::memcpy(&value, source + i * row_step + x + j + v * lanes, sizeof value);
                    sum[v] += factor * value;
                }
            }
        }
        std::memcpy(target + x, sum, sizeof sum);
    }
    while (x < count && count >= lanes) {  // the last vector takes values once more, which come out the same
        x = std::min(x, count - lanes);
        Vector sum = {};
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) {
                Vector value;
                std::memcpy(&value, source + i * row_step + x + j, sizeof value);
                sum += weight[i * columns + j] * value;
            }
        }
        std::memcpy(target + x, &sum, sizeof sum);
        x += lanes;
    }
    for (; x < count; ++x) {
        float sum = 0;
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) sum += weight[i * columns + j] * source[i * row_step + x + j];
        }
        target[x] = sum;
    }
}

}  // namespace

void convolve(const Stencil& stencil, const FieldStack<const float>& source, std::int64_t frames, std::int64_t height,
              std::int64_t width, const FieldStack<float>& target, int threads) {
    const std::int64_t rows = height - stencil.rows + 1, columns = width - stencil.columns + 1;
    if (rows < 1 || columns < 1) throw std::invalid_argument("the field is smaller than the convolution");
    const int workers = useful_threads(threads, frames * stencil.outputs * rows * columns);
    parallel_for(frames * rows, workers, [&](std::int64_t item) {
        const std::int64_t frame = item / rows, y = item % rows;
        for (std::int64_t k = 0; k < stencil.outputs; ++k) {
            convolve_row(stencil.weight + k * stencil.rows * stencil.columns, stencil.rows, stencil.columns,
                         source.row(frame, 0, y), source.row_step, target.row(frame, k, y), columns);
        }
    });
}

}  // namespace gfs_sr
