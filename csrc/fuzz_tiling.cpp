// Bytes -> a plan -> gather -> scatter -> the same field, or a named error. Run by libFuzzer, or alone over random bytes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "masking.h"
#include "tiling.h"

namespace {

using namespace gfs_sr;

// Small numbers from the input, zeros once it is used up.
class Bytes {
public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data, data + size) {}

    std::int64_t below(std::int64_t limit) {
        const std::int64_t byte = next_ < data_.size() ? data_[next_] : 0;
        ++next_;
        return byte % limit;
    }

private:
    std::vector<std::uint8_t> data_;
    std::size_t next_ = 0;
};

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "fuzz_tiling: %s\n", what);
        std::abort();
    }
}

Axis axis_of(Bytes& bytes, std::int64_t longest, Boundary boundary) {
    Axis axis{1 + bytes.below(longest), bytes.below(longest + 2), bytes.below(longest + 3), bytes.below(longest + 3),
              boundary, {}, {}};
    if (boundary == Boundary::pole) {
        const std::int64_t ends = bytes.below(9);
        axis.north = ends % 3 == 2 ? std::optional<std::int64_t>{} : ends % 3;
        axis.south = ends / 3 == 2 ? std::optional<std::int64_t>{} : ends / 3;
    }
    return axis;
}

std::size_t index(std::int64_t value) { return static_cast<std::size_t>(value); }

struct Field {
    std::int64_t channels;
    std::int64_t height;
    std::int64_t width;
    std::vector<std::vector<float>> frames;

    float at(std::int64_t frame, std::int64_t channel, std::int64_t row, std::int64_t column) const {
        return frames[index(frame)][index((channel * height + row) * width + column)];
    }
};

// Each cell has a value of its own, so that a cell from a wrong place shows.
Field field_of(const Plan& plan, std::int64_t channels) {
    Field field{channels, plan.lat.length, plan.lon.length, {}};
    float value = 1;
    for (std::int64_t frame = 0; frame < plan.time.length; ++frame) {
        std::vector<float> cells(index(channels * field.height * field.width));
        std::generate(cells.begin(), cells.end(), [&] { return value++; });
        field.frames.push_back(std::move(cells));
    }
    return field;
}

float bend(Transform transform, float x) {
    switch (transform) {
        case Transform::linear: return x;
        case Transform::log10_1p: return std::log10(1.0F + x);
        case Transform::sqrt: return std::sqrt(x);
    }
    return x;
}

bool is_close(float a, float b, float relative) { return std::abs(a - b) <= relative * std::abs(b); }

void round_trip(Bytes& bytes) {
    const auto lat_boundary = bytes.below(2) == 0 ? Boundary::edge : Boundary::pole;
    const auto lon_boundary = bytes.below(3) == 0 ? Boundary::edge : Boundary::periodic;
    const Plan plan{axis_of(bytes, 4, Boundary::edge), axis_of(bytes, 9, lat_boundary), axis_of(bytes, 12, lon_boundary)};
    try {
        plan.check();
    } catch (const InvalidArgument&) {
        return;
    }
    const std::int64_t channels = 1 + bytes.below(3);
    const std::int64_t s = 1 + bytes.below(3);
    const std::int64_t r = 1 + bytes.below(3);
    const auto transform = static_cast<Transform>(bytes.below(3));
    const bool is_linear = transform == Transform::linear;
    // float16 holds the few values of these fields exactly, but not their logarithms
    const auto element = static_cast<Element>(is_linear ? bytes.below(2) : 0);
    const int threads = static_cast<int>(1 + bytes.below(4));
    const Field field = field_of(plan, channels);
    const bool is_exact = element == Element::float32 || plan.time.length * channels * field.height * field.width < 2048;
    const std::vector<float> zeros(index(channels), 0.0F), ones(index(channels), 1.0F);
    const std::vector<float> low(index(channels), -std::numeric_limits<float>::infinity());
    const std::vector<float> high(index(channels), std::numeric_limits<float>::infinity());
    const std::vector<std::uint8_t> flip(index(channels), is_linear ? 1 : 0);  // amounts have no direction
    const std::vector<Transform> bent(index(channels), transform);

    Frames<float> frames{{}, 0};
    for (const std::vector<float>& frame : field.frames) {
        frames.data.push_back(frame.data());
    }
    const std::int64_t t = plan.time.extent(), h = plan.lat.extent(), w = plan.lon.extent();
    Window window{{0, 0, 0}, {r * plan.time.length, s * field.height, s * field.width}};
    for (std::size_t axis = 0; axis < 3; ++axis) {  // any part of the fine domain, often all of it
        window.first[axis] = bytes.below(3) == 0 ? bytes.below(window.size[axis]) : 0;
        window.size[axis] -= window.first[axis];
        window.size[axis] -= bytes.below(3) == 0 ? bytes.below(window.size[axis]) : 0;
    }
    // one coarse cell of every frame and channel is missing
    const std::int64_t missing_row = bytes.below(field.height), missing_column = bytes.below(field.width);
    std::vector<std::uint8_t> mask(index(channels * field.height * field.width), 0);
    for (std::int64_t c = 0; c < channels; ++c) {
        mask[index((c * field.height + missing_row) * field.width + missing_column)] = 1;
    }
    const Frames<std::uint8_t> masks{std::vector<const std::uint8_t*>(index(plan.time.length), mask.data()), 0};
    std::vector<float> result(index(window.size[0] * channels * window.size[1] * window.size[2]), -1.0F);
    std::vector<std::int64_t> tiles(index(plan.spatial_tiles()));
    std::generate(tiles.begin(), tiles.end(), [n = std::int64_t{0}]() mutable { return n++; });
    std::shuffle(tiles.begin(), tiles.end(), std::minstd_rand(static_cast<unsigned>(bytes.below(256))));

    for (std::int64_t time_tile = 0; time_tile < plan.time.tiles(); ++time_tile) {
        check_tiles(plan, time_tile, tiles);
        check_frames(plan.time, time_tile, 0, plan.time.length);
        const std::int64_t cells = std::ssize(tiles) * t * channels * h * w;
        std::vector<std::byte> gathered(index(cells) * size_of(element));
        gather(frames, channels, plan, time_tile, tiles, {bent, zeros, ones, flip, {}}, gathered, element, threads);
        std::vector<float> widened(index(cells));
        if (element == Element::float32) {
            const auto* const values = reinterpret_cast<const float*>(gathered.data());
            std::copy(values, values + cells, widened.begin());
        } else {
            from_half(reinterpret_cast<const std::uint16_t*>(gathered.data()), widened.data(), cells);
        }
        const std::int64_t fine_cells = r * plan.time.core * channels * s * plan.lat.core * s * plan.lon.core;
        std::vector<float> fine(index(std::ssize(tiles) * fine_cells));
        for (std::int64_t n = 0; n < std::ssize(tiles); ++n) {
            const std::int64_t row_tile = tiles[index(n)] / plan.lon.tiles();
            const std::int64_t column_tile = tiles[index(n)] % plan.lon.tiles();
            for (std::int64_t k = 0; k < t; ++k) {
                for (std::int64_t c = 0; c < channels; ++c) {
                    for (std::int64_t y = 0; y < h; ++y) {
                        for (std::int64_t x = 0; x < w; ++x) {
                            const Source row = source_of(plan.lat, plan.lat.first(row_tile) + y);
                            const std::int64_t turned = row.crossed ? field.width / 2 : 0;
                            const std::int64_t frame = source_of(plan.time, plan.time.first(time_tile) + k).index;
                            const std::int64_t column =
                                source_of(plan.lon, plan.lon.first(column_tile) + x + turned).index;
                            const float sign = row.crossed && is_linear ? -1.0F : 1.0F;
                            const float expected = bend(transform, sign * field.at(frame, c, row.index, column));
                            const float got = widened[index((((n * t + k) * channels + c) * h + y) * w + x)];
                            require(!is_exact || is_close(got, expected, is_linear ? 0.0F : 3e-7F),
                                    "a gathered cell is wrong");
                        }
                    }
                }
            }
            for (std::int64_t k = 0; k < r * plan.time.core; ++k) {
                for (std::int64_t c = 0; c < channels; ++c) {
                    for (std::int64_t y = 0; y < s * plan.lat.core; ++y) {
                        for (std::int64_t x = 0; x < s * plan.lon.core; ++x) {
                            const std::int64_t from = (((n * t + plan.time.before + k / r) * channels + c) * h +
                                                       plan.lat.before + y / s) * w + plan.lon.before + x / s;
                            const std::int64_t to =
                                (((n * r * plan.time.core + k) * channels + c) * s * plan.lat.core + y) * s *
                                    plan.lon.core + x;
                            fine[index(to)] = widened[index(from)];
                        }
                    }
                }
            }
        }
        const Refinement refinement{s, r, Registration::cell, {}};
        scatter(std::as_bytes(std::span<const float>(fine)), Element::float32, channels, plan, time_tile, tiles,
                refinement, {bent, zeros, ones, low, high}, masks, window, result, threads);
    }
    for (std::int64_t k = 0; k < window.size[0]; ++k) {
        for (std::int64_t c = 0; c < channels; ++c) {
            for (std::int64_t y = 0; y < window.size[1]; ++y) {
                for (std::int64_t x = 0; x < window.size[2]; ++x) {
                    const float got =
                        result[index(((k * channels + c) * window.size[1] + y) * window.size[2] + x)];
                    const std::int64_t row = (window.first[1] + y) / s, column = (window.first[2] + x) / s;
                    const bool is_missing = row == missing_row && column == missing_column;
                    require(is_missing == std::isnan(got), "a masked cell is elsewhere");
                    const float given = field.at((window.first[0] + k) / r, c, row, column);
                    require(!is_exact || is_missing || is_close(got, given, is_linear ? 0.0F : 3e-6F),
                            "the field did not come back");
                }
            }
        }
    }
}

void filling(Bytes& bytes) {
    const std::int64_t height = 1 + bytes.below(9), width = 1 + bytes.below(9);
    const bool is_periodic = bytes.below(2) == 0;
    std::vector<float> field(index(height * width));
    for (float& cell : field) {
        cell = bytes.below(3) == 0 ? static_cast<float>(bytes.below(100)) : std::numeric_limits<float>::quiet_NaN();
    }
    const std::vector<float> given = field;
    std::vector<std::uint8_t> mask(field.size());
    fill_nearest(field, mask, 1, height, width, is_periodic, 1);
    const bool has_valid = std::any_of(given.begin(), given.end(), [](float cell) { return !std::isnan(cell); });
    for (std::size_t i = 0; i < field.size(); ++i) {
        require((mask[i] == 1) == std::isnan(given[i]), "the mask is not where NaN was");
        require(std::isnan(field[i]) == !has_valid, "a cell was left empty");
        require(mask[i] == 1 || field[i] == given[i], "a valid cell was changed");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes bytes(data, size);
    if (bytes.below(4) == 0) {
        filling(bytes);
    } else {
        round_trip(bytes);
    }
    return 0;
}

#if !defined(GFS_SR_LIBFUZZER)
// usage: fuzz_tiling [runs] [seed]
int main(int argc, char** argv) {
    const int runs = argc > 1 ? std::atoi(argv[1]) : 2000;
    std::mt19937 random(static_cast<unsigned>(argc > 2 ? std::atoi(argv[2]) : 0));
    for (int run = 0; run < runs; ++run) {
        std::vector<std::uint8_t> bytes(128);
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%d runs, each field came back or was refused by name\n", runs);
    return 0;
}
#endif
