// The plan over (time, lat, lon); gather (pad, normalize, cast) and scatter (cores, denormalize, bounds, mask).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "axis.h"
#include "rows.h"

namespace gfs_sr {

struct Plan {
    Axis time;
    Axis lat;
    Axis lon;

    std::int64_t spatial_tiles() const { return lat.tiles() * lon.tiles(); }
    void check() const;
};

// Consecutive source frames, each (C, H, W) contiguous; frames[0] lies at index `first` of the time axis.
template <typename Value>
struct Frames {
    std::vector<const Value*> data;
    std::int64_t first;
};

// Per channel: model units are (g(sign · x) - offset) · scale. sign is -1 only beyond a pole, where `flip` says so.
struct Normalization {
    std::span<const Transform> transform;  // g; empty is linear throughout
    std::span<const float> offset;
    std::span<const float> scale;
    std::span<const std::uint8_t> flip;
    std::span<const float> fill;  // model units, in place of NaN; empty leaves NaN
};

// Per channel: physical units are g⁻¹(z · scale + offset), held between low and high.
struct Denormalization {
    std::span<const Transform> transform;  // empty is linear throughout
    std::span<const float> offset;
    std::span<const float> scale;
    std::span<const float> low;
    std::span<const float> high;
};

// Fills tiles (N, t, C, h, w), for `tiles` of time tile `time_tile`. Sizes of the spans are checked by the caller.
void gather(const Frames<float>& frames, std::int64_t channels, const Plan& plan, std::int64_t time_tile,
            std::span<const std::int64_t> tiles, const Normalization& normalization, std::span<std::byte> target,
            Element element, int threads);

enum class Registration { node, cell };

// How fine indices relate to coarse ones.
struct Refinement {
    std::int64_t scale_factor;
    std::int64_t time_factor;
    Registration registration;
    std::span<const std::uint8_t> bucket;  // (C,) 1 where frames are buckets in time; empty: all are instants
};

// A window of the fine index space [0, r·T) x [0, s·H) x [0, s·W): first index and size along (time, lat, lon).
struct Window {
    std::array<std::int64_t, 3> first;
    std::array<std::int64_t, 3> size;
};

// Puts the cores of fine tiles (N, r·core_t, C, s·core_h, s·core_w) where they belong in `target`, an array
// (T, C, H, W) that holds `window`; what lies outside the window or the domain is dropped. `masks` may be empty.
void scatter(std::span<const std::byte> fine, Element element, std::int64_t channels, const Plan& plan,
             std::int64_t time_tile, std::span<const std::int64_t> tiles, const Refinement& refinement,
             const Denormalization& denormalization, const Frames<std::uint8_t>& masks, const Window& window,
             std::span<float> target, int threads);

// Throws unless every tile exists and none occurs twice: two threads would write one cell.
void check_tiles(const Plan& plan, std::int64_t time_tile, std::span<const std::int64_t> tiles);

// Throws unless `frames` frames from `first` on hold all that time tile `time_tile` sees.
void check_frames(const Axis& time, std::int64_t time_tile, std::int64_t first, std::int64_t frames);

}  // namespace gfs_sr
