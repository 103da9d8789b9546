// Plain convolutions of one input field into many: the fixed filters around a network, which write far more than they
// multiply. Products and sums are rounded one by one, so that results are the same on every processor.
#pragma once

#include <cstdint>

#include "winograd.h"

namespace gfs_sr {

// source (frames, 1, height, width), weight (outputs, rows, columns) ->
// target (frames, outputs, height - rows + 1, width - columns + 1); threads 0: all.
struct Stencil {
    const float* weight;
    std::int64_t outputs, rows, columns;
};

void convolve(const Stencil& stencil, const FieldStack<const float>& source, std::int64_t frames, std::int64_t height,
              std::int64_t width, const FieldStack<float>& target, int threads);

}  // namespace gfs_sr
