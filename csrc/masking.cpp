#include "masking.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "thread_pool.h"

namespace gfs_sr {
namespace {

constexpr std::int64_t none = -1;

// Per cell, the row of the nearest valid cell of its column (the northern one of two), or `none`.
std::vector<std::int64_t> nearest_rows(const std::uint8_t* mask, std::int64_t height, std::int64_t width) {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(height * width));
    for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
            const std::int64_t cell = y * width + x;
            const std::int64_t above = y > 0 ? rows[static_cast<std::size_t>(cell - width)] : none;
            rows[static_cast<std::size_t>(cell)] = mask[cell] ? above : y;
        }
    }
    for (std::int64_t y = height - 2; y >= 0; --y) {
        for (std::int64_t x = 0; x < width; ++x) {
            std::int64_t& best = rows[static_cast<std::size_t>(y * width + x)];
            const std::int64_t below = rows[static_cast<std::size_t>((y + 1) * width + x)];
            // where `below` is a row north of y, it is `best` itself
            if (below != none && (best == none || std::abs(below - y) < y - best)) {
                best = below;
            }
        }
    }
    return rows;
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }

// One row of the exact distance transform: the lower envelope of one parabola per column.
// Source: Meijster, Roerdink, Hesselink 2000, "A general algorithm for computing distance transforms in linear time".
class Envelope {
public:
    explicit Envelope(std::int64_t columns) { parabolas_.reserve(static_cast<std::size_t>(columns)); }

    void clear() { parabolas_.clear(); }

    void add(std::int64_t column, std::int64_t row_distance, std::int64_t first) {
        const Parabola added{column, row_distance * row_distance, first};
        while (!parabolas_.empty() && at(parabolas_.back(), parabolas_.back().from) > at(added, parabolas_.back().from)) {
            parabolas_.pop_back();
        }
        if (parabolas_.empty()) {
            parabolas_.push_back(added);
            return;
        }
        const Parabola& last = parabolas_.back();
        // the last column where `last` is no worse
        const std::int64_t until = floor_divide(
            column * column - last.column * last.column + added.height - last.height, 2 * (column - last.column));
        parabolas_.push_back({column, added.height, until + 1});
    }

    // The nearest parabola's column for rising x; `cursor` is kept between calls.
    std::int64_t column(std::int64_t x, std::size_t& cursor) const {
        while (cursor + 1 < parabolas_.size() && parabolas_[cursor + 1].from <= x) {
            ++cursor;
        }
        return parabolas_[cursor].column;
    }

    bool empty() const { return parabolas_.empty(); }

private:
    struct Parabola {
        std::int64_t column;
        std::int64_t height;
        std::int64_t from;  // lowest of all from this column on
    };

    static std::int64_t at(const Parabola& parabola, std::int64_t x) {
        return (x - parabola.column) * (x - parabola.column) + parabola.height;
    }

    std::vector<Parabola> parabolas_;
};

void fill_channel(float* field, std::uint8_t* mask, std::int64_t height, std::int64_t width, bool is_periodic) {
    const std::int64_t cells = height * width;
    std::int64_t missing = 0;
    for (std::int64_t i = 0; i < cells; ++i) {
        mask[i] = std::isnan(field[i]) ? 1 : 0;
        missing += mask[i];
    }
    if (missing == 0 || missing == cells) {
        return;
    }
    const std::vector<std::int64_t> rows = nearest_rows(mask, height, width);
    // half a turn on either side holds the nearest cell around the globe
    const std::int64_t first = is_periodic ? -(width / 2) - 1 : 0;
    const std::int64_t stop = is_periodic ? width + width / 2 + 1 : width;
    Envelope envelope(stop - first);
    for (std::int64_t y = 0; y < height; ++y) {
        std::uint8_t* const row_mask = mask + y * width;
        if (std::find(row_mask, row_mask + width, 1) == row_mask + width) {
            continue;
        }
        envelope.clear();
        const auto column_of = [&](std::int64_t x) { return (x + 2 * width) % width; };
        for (std::int64_t x = first; x < stop; ++x) {
            const std::int64_t row = rows[static_cast<std::size_t>(y * width + column_of(x))];
            if (row != none) {
                envelope.add(x, std::abs(row - y), first);
            }
        }
        assert(!envelope.empty());
        std::size_t cursor = 0;
        for (std::int64_t x = 0; x < width; ++x) {
            const std::int64_t column = column_of(envelope.column(x, cursor));
            if (row_mask[x]) {
                // sources are valid cells, which are never written: filling in place is safe
                field[y * width + x] = field[rows[static_cast<std::size_t>(y * width + column)] * width + column];
            }
        }
    }
}

}  // namespace

std::int64_t nearest_coarse(const Axis& axis, std::int64_t fine, std::int64_t factor, bool is_node) {
    const std::int64_t index = is_node ? (2 * fine + factor) / (2 * factor) : fine / factor;
    if (axis.boundary == Boundary::periodic) {
        return index % axis.length;
    }
    return std::min(index, axis.length - 1);  // beyond a pole too: the last row is nearest
}

void fill_nearest(std::span<float> field, std::span<std::uint8_t> mask, std::int64_t channels, std::int64_t height,
                  std::int64_t width, bool is_periodic, int threads) {
    const std::int64_t cells = height * width;
    assert(std::ssize(field) == channels * cells && std::ssize(mask) == channels * cells);
    parallel_for(channels, useful_threads(threads, channels * cells), [&](std::int64_t channel) {
        fill_channel(field.data() + channel * cells, mask.data() + channel * cells, height, width, is_periodic);
    });
}

}  // namespace gfs_sr
