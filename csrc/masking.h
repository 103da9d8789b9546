// Missing cells: filled from the nearest valid one before inference, found again among the fine cells after it.
#pragma once

#include <cstdint>
#include <span>

#include "axis.h"

namespace gfs_sr {

// The coarse cell nearest to a fine one: `node` has coarse i on fine s·i (a tie goes to the later one), `cell` on
// the s cells from s·i on.
std::int64_t nearest_coarse(const Axis& axis, std::int64_t fine, std::int64_t factor, bool is_node);

// Fills NaN cells of each channel of `field` (C, H, W) in place from the valid cell at the least index distance, and
// sets `mask` to 1 there, 0 elsewhere. A tie goes to the westernmost cell, then to the northernmost. A channel without
// a valid cell is left as it is. Linear in the number of cells.
void fill_nearest(std::span<float> field, std::span<std::uint8_t> mask, std::int64_t channels, std::int64_t height,
                  std::int64_t width, bool is_periodic, int threads);

}  // namespace gfs_sr
