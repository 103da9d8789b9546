#include "tiling.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <string>

#include "masking.h"
#include "thread_pool.h"

namespace gfs_sr {
namespace {

constexpr std::int64_t scratch_cells = 4096;  // 16 KiB: half of a first-level cache
// a target this large is out of the caches before it is read
#if defined(GFS_SR_SANITIZED)
constexpr std::size_t streaming_bytes = 4096;
#else
constexpr std::size_t streaming_bytes = std::size_t{8} << 20;
#endif

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

std::int64_t blocks_of(std::int64_t rows, std::int64_t rows_per_block) {
    return (rows + rows_per_block - 1) / rows_per_block;
}

void cast(const float* source, std::byte* target, std::int64_t count, Element element) {
    switch (element) {
        case Element::float32: std::memcpy(target, source, at(count) * sizeof(float)); break;
        case Element::float16: to_half(source, reinterpret_cast<std::uint16_t*>(target), count); break;
        case Element::bfloat16: to_bfloat(source, reinterpret_cast<std::uint16_t*>(target), count); break;
    }
}

const float* widened(const std::byte* source, float* scratch, std::int64_t count, Element element) {
    switch (element) {
        case Element::float32: return reinterpret_cast<const float*>(source);
        case Element::float16: from_half(reinterpret_cast<const std::uint16_t*>(source), scratch, count); break;
        case Element::bfloat16: from_bfloat(reinterpret_cast<const std::uint16_t*>(source), scratch, count); break;
    }
    return scratch;
}

Transform transform_of(std::span<const Transform> transforms, std::int64_t channel) {
    return transforms.empty() ? Transform::linear : transforms[at(channel)];
}

// What all tiles of one column of tiles share, straight and beyond a pole.
struct ColumnRuns {
    std::vector<Run> straight;
    std::vector<Run> crossed;
};

}  // namespace

void Plan::check() const {
    time.check("time");
    lat.check("lat");
    lon.check("lon");
    if (time.boundary != Boundary::edge) {
        throw InvalidArgument("time axis: only the edge boundary makes sense in time");
    }
    if (lat.boundary == Boundary::periodic) {
        throw InvalidArgument("lat axis: latitudes are not periodic; use edge or pole");
    }
    if (lon.boundary == Boundary::pole) {
        throw InvalidArgument("lon axis: the pole boundary is for latitudes");
    }
    if (lat.boundary == Boundary::pole && (lon.boundary != Boundary::periodic || lon.length % 2 != 0)) {
        throw InvalidArgument("lat axis: a pole is crossed by half a turn, which needs an even number of periodic "
                              "longitudes; there are " + std::to_string(lon.length));
    }
}

void check_tiles(const Plan& plan, std::int64_t time_tile, std::span<const std::int64_t> tiles) {
    if (time_tile < 0 || time_tile >= plan.time.tiles()) {
        throw InvalidArgument("time tile " + std::to_string(time_tile) + " is not among the plan's " +
                              std::to_string(plan.time.tiles()));
    }
    std::vector<std::int64_t> sorted(tiles.begin(), tiles.end());
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= plan.spatial_tiles())) {
        const std::int64_t wrong = sorted.front() < 0 ? sorted.front() : sorted.back();
        throw InvalidArgument("tile " + std::to_string(wrong) + " is not among the plan's " +
                              std::to_string(plan.spatial_tiles()));
    }
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end()) {
        throw InvalidArgument("tile " + std::to_string(*twice) + " is asked for twice");
    }
}

void check_frames(const Axis& time, std::int64_t time_tile, std::int64_t first, std::int64_t frames) {
    const std::int64_t from = source_of(time, time.first(time_tile)).index;
    const std::int64_t to = source_of(time, time.first(time_tile) + time.extent() - 1).index;
    if (first < 0 || first > from || first + frames <= to || first + frames > time.length) {
        throw InvalidArgument("time tile " + std::to_string(time_tile) + " sees frames " + std::to_string(from) +
                              " to " + std::to_string(to) + " of " + std::to_string(time.length) + "; given are " +
                              std::to_string(frames) + " from " + std::to_string(first) + " on");
    }
}

void gather(const Frames<float>& frames, std::int64_t channels, const Plan& plan, std::int64_t time_tile,
            std::span<const std::int64_t> tiles, const Normalization& normalization, std::span<std::byte> target,
            Element element, int threads) {
    const std::int64_t depth = plan.time.extent();
    const std::int64_t height = plan.lat.extent();
    const std::int64_t width = plan.lon.extent();
    const std::int64_t columns = plan.lon.tiles();
    const std::int64_t rows_per_block = std::clamp<std::int64_t>(scratch_cells / width, 1, height);
    const std::int64_t blocks = blocks_of(height, rows_per_block);
    const std::int64_t cells = std::ssize(tiles) * depth * channels * height * width;
    assert(target.size() == at(cells) * size_of(element));
    const bool is_streamed = target.size() >= streaming_bytes;

    std::vector<ColumnRuns> runs(at(columns));
    for (const std::int64_t tile : tiles) {
        ColumnRuns& column = runs[at(tile % columns)];
        if (column.straight.empty()) {
            const std::int64_t first = plan.lon.first(tile % columns);
            column.straight = runs_of(plan.lon, first, width, 0);
            if (plan.lat.boundary == Boundary::pole) {
                column.crossed = runs_of(plan.lon, first, width, plan.lon.length / 2);
            }
        }
    }

    // one item: some rows of one channel of one frame of one tile, which lie side by side in the target
    const std::int64_t items = std::ssize(tiles) * depth * channels * blocks;
    parallel_for(items, useful_threads(threads, cells), [&](std::int64_t item) {
        thread_local std::vector<float> scratch;
        thread_local std::vector<std::byte> narrowed;
        // neighboring tiles follow one another: together they read whole rows, and each halo while it is in a cache
        const std::int64_t n = item % std::ssize(tiles);
        const std::int64_t block = item / std::ssize(tiles) % blocks;
        const std::int64_t channel = item / (std::ssize(tiles) * blocks) % channels;
        const std::int64_t depth_index = item / (std::ssize(tiles) * blocks * channels);
        const std::int64_t tile = tiles[at(n)];
        const std::int64_t first_row = block * rows_per_block;
        const std::int64_t rows = std::min(rows_per_block, height - first_row);
        const std::int64_t frame = source_of(plan.time, plan.time.first(time_tile) + depth_index).index - frames.first;
        const float* const plane = frames.data[at(frame)] + channel * plan.lat.length * plan.lon.length;

        const Transform transform = transform_of(normalization.transform, channel);
        const float offset = normalization.offset[at(channel)];
        const float scale = normalization.scale[at(channel)];
        const float fill = normalization.fill.empty() ? std::numeric_limits<float>::quiet_NaN()
                                                      : normalization.fill[at(channel)];
        const std::int64_t start = ((n * depth + depth_index) * channels + channel) * height * width + first_row * width;
        std::byte* const out = target.data() + at(start) * size_of(element);
        const bool is_direct = element == Element::float32 && !is_streamed;
        if (!is_direct) {
            scratch.resize(at(rows_per_block * width));
        }
        float* const normalized = is_direct ? reinterpret_cast<float*>(out) : scratch.data();
        const ColumnRuns& column = runs[at(tile % columns)];
        const std::int64_t first = plan.lat.first(tile / columns) + first_row;
        for (std::int64_t y = 0; y < rows;) {
            const Source row = source_of(plan.lat, first + y);
            // inside the domain the rows follow one another, and one call does them all
            const bool is_inside = first + y >= 0 && first + y < plan.lat.length;
            const std::int64_t together = is_inside ? std::min(rows - y, plan.lat.length - first - y) : 1;
            const float* const source = plane + row.index * plan.lon.length;
            const float sign = row.crossed && normalization.flip[at(channel)] ? -1.0F : 1.0F;
            for (const Run& run : row.crossed ? column.crossed : column.straight) {
                float* const cell = normalized + y * width + run.target;
                normalize_rows(source + run.source, plan.lon.length, cell, width, together,
                               run.replicated ? 1 : run.count, {transform, sign, offset, scale, fill});
                for (std::int64_t k = 0; run.replicated && k < together; ++k) {
                    std::fill(cell + k * width + 1, cell + k * width + run.count, cell[k * width]);
                }
            }
            y += together;
        }
        if (is_direct) {
            return;
        }
        if (!is_streamed) {
            cast(normalized, out, rows * width, element);
        } else if (element == Element::float32) {
            copy_streaming(normalized, out, at(rows * width) * sizeof(float));
        } else {
            narrowed.resize(at(rows * width) * size_of(element));
            cast(normalized, narrowed.data(), rows * width, element);
            copy_streaming(narrowed.data(), out, narrowed.size());
        }
    });
}

namespace {

// The part of one tile's core that falls into the window, along longitude.
struct Segment {
    std::int64_t n;       // of the batch
    std::int64_t inside;  // first column within the tile
    std::int64_t column;  // first column within the window
    std::int64_t count;
};

// The tiles of one band, west to east.
struct Band {
    std::int64_t row;  // of tiles
    std::vector<Segment> segments;
};

// Indices [first, first + count) of the fine axis that lie in a tile's core, in the domain and in the window.
struct Overlap {
    std::int64_t first;
    std::int64_t count;
};

Overlap overlap_of(const Axis& axis, std::int64_t tile, std::int64_t factor, std::int64_t window_first,
                   std::int64_t window_size) {
    const std::int64_t first = std::max(tile * axis.core * factor, window_first);
    const std::int64_t stop = std::min({(tile + 1) * axis.core * factor, axis.length * factor, window_first + window_size});
    return {first, std::max<std::int64_t>(stop - first, 0)};
}

std::vector<Band> bands_of(const Plan& plan, std::span<const std::int64_t> tiles, std::int64_t factor,
                           const Window& window) {
    std::vector<Band> bands;
    const std::int64_t columns = plan.lon.tiles();
    std::vector<std::int64_t> order(tiles.size());
    for (std::int64_t n = 0; n < std::ssize(tiles); ++n) {
        order[at(n)] = n;
    }
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return tiles[at(a)] < tiles[at(b)]; });
    for (const std::int64_t n : order) {
        const std::int64_t row = tiles[at(n)] / columns;
        const std::int64_t column = tiles[at(n)] % columns;
        const Overlap overlap = overlap_of(plan.lon, column, factor, window.first[2], window.size[2]);
        if (overlap.count == 0) {
            continue;
        }
        if (bands.empty() || bands.back().row != row) {
            bands.push_back({row, {}});
        }
        bands.back().segments.push_back({n, overlap.first - column * plan.lon.core * factor,
                                         overlap.first - window.first[2], overlap.count});
    }
    return bands;
}

}  // namespace

void scatter(std::span<const std::byte> fine, Element element, std::int64_t channels, const Plan& plan,
             std::int64_t time_tile, std::span<const std::int64_t> tiles, const Refinement& refinement,
             const Denormalization& denormalization, const Frames<std::uint8_t>& masks, const Window& window,
             std::span<float> target, int threads) {
    const std::int64_t s = refinement.scale_factor;
    const std::int64_t depth = refinement.time_factor * plan.time.core;
    const std::int64_t height = s * plan.lat.core;
    const std::int64_t width = s * plan.lon.core;
    assert(fine.size() == at(std::ssize(tiles) * depth * channels * height * width) * size_of(element));
    assert(std::ssize(target) == window.size[0] * channels * window.size[1] * window.size[2]);
    const bool is_streamed = target.size_bytes() >= streaming_bytes;
    const bool is_node = refinement.registration == Registration::node;

    const std::vector<Band> bands = bands_of(plan, tiles, s, window);
    const Overlap frames = overlap_of(plan.time, time_tile, refinement.time_factor, window.first[0], window.size[0]);
    std::vector<std::int64_t> nearest_column;
    if (!masks.data.empty()) {
        nearest_column.resize(at(window.size[2]));
        for (std::int64_t x = 0; x < window.size[2]; ++x) {
            nearest_column[at(x)] = nearest_coarse(plan.lon, window.first[2] + x, s, is_node);
        }
    }
    const std::int64_t rows_per_block =
        std::clamp<std::int64_t>(4 * scratch_cells / std::max<std::int64_t>(window.size[2], 1), 1, height);
    const std::int64_t blocks = blocks_of(height, rows_per_block);

    // one item: some rows of one channel of one fine frame, across all tiles of a band
    const std::int64_t items = std::ssize(bands) * frames.count * channels * blocks;
    const std::int64_t cells = std::ssize(tiles) * depth * channels * height * width;
    parallel_for(items, useful_threads(threads, cells), [&](std::int64_t item) {
        thread_local std::vector<float> scratch;
        thread_local std::vector<float> widths;
        const std::int64_t block = item % blocks;
        const std::int64_t channel = item / blocks % channels;
        const std::int64_t frame = frames.first + item / (blocks * channels) % frames.count;
        const Band& band = bands[at(item / (blocks * channels * frames.count))];
        const std::int64_t tile_row = band.row * height;  // first fine row of the band
        const Overlap in_band = overlap_of(plan.lat, band.row, s, window.first[1], window.size[1]);
        const std::int64_t first_row = std::max(in_band.first, tile_row + block * rows_per_block);
        const std::int64_t stop_row =
            std::min(in_band.first + in_band.count, tile_row + std::min((block + 1) * rows_per_block, height));
        const std::int64_t tile_frame = frame - time_tile * depth;
        const ChannelInverse inverse{transform_of(denormalization.transform, channel),
                                     denormalization.offset[at(channel)], denormalization.scale[at(channel)],
                                     denormalization.low[at(channel)], denormalization.high[at(channel)]};
        scratch.resize(at(window.size[2]));
        widths.resize(at(width));

        const std::uint8_t* mask = nullptr;
        if (!masks.data.empty()) {
            const bool is_bucket = !refinement.bucket.empty() && refinement.bucket[at(channel)];
            // a model that sees no later frame is masked by the last one it saw
            const bool is_instant = !is_bucket && plan.time.after > 0;
            const std::int64_t coarse = nearest_coarse(plan.time, frame, refinement.time_factor, is_instant);
            mask = masks.data[at(coarse - masks.first)] + channel * plan.lat.length * plan.lon.length;
        }
        for (std::int64_t row = first_row; row < stop_row; ++row) {
            const std::uint8_t* mask_row = nullptr;
            if (mask != nullptr) {
                mask_row = mask + nearest_coarse(plan.lat, row, s, is_node) * plan.lon.length;
                if (std::all_of(mask_row, mask_row + plan.lon.length, [](std::uint8_t m) { return m == 0; })) {
                    mask_row = nullptr;
                }
            }
            const std::int64_t out_row =
                ((frame - window.first[0]) * channels + channel) * window.size[1] + row - window.first[1];
            float* const out = target.data() + out_row * window.size[2];
            for (std::size_t k = 0; k < band.segments.size();) {
                const std::int64_t begin = band.segments[k].column;
                std::int64_t end = begin;
                for (; k < band.segments.size() && band.segments[k].column == end; ++k) {
                    const Segment& segment = band.segments[k];
                    const std::int64_t from =
                        (((segment.n * depth + tile_frame) * channels + channel) * height + row - tile_row) * width +
                        segment.inside;
                    const float* const values =
                        widened(fine.data() + at(from) * size_of(element), widths.data(), segment.count, element);
                    denormalize_row(values, (is_streamed ? scratch.data() : out) + segment.column, segment.count,
                                    inverse);
                    end += segment.count;
                }
                float* const written = is_streamed ? scratch.data() : out;
                if (mask_row != nullptr) {
                    for (std::int64_t x = begin; x < end; ++x) {
                        if (mask_row[nearest_column[at(x)]]) {
                            written[x] = std::numeric_limits<float>::quiet_NaN();
                        }
                    }
                }
                if (is_streamed) {
                    copy_streaming(scratch.data() + begin, out + begin, at(end - begin) * sizeof(float));
                }
            }
        }
    });
}

}  // namespace gfs_sr
