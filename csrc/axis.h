// One axis of a plan: length, core, halo and boundary rule -> the source index of every tile cell.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace gfs_sr {

// What a caller got wrong. The message says what came and what was needed.
class InvalidArgument : public std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

enum class Boundary { edge, periodic, pole };

struct Axis {
    std::int64_t length;
    std::int64_t core;
    std::int64_t before;
    std::int64_t after;
    Boundary boundary;
    // per end of a pole axis: 0, the end row lies on the pole and is not repeated; 1, half a spacing before it;
    // empty, the axis ends before the pole and its end row is replicated
    std::optional<std::int64_t> north;
    std::optional<std::int64_t> south;

    std::int64_t tiles() const { return (length + core - 1) / core; }
    std::int64_t extent() const { return before + core + after; }
    std::int64_t first(std::int64_t tile) const { return tile * core - before; }
    void check(const char* name) const;
};

// Where the value of a tile cell comes from. `crossed`: beyond a pole, so half a turn further in longitude.
struct Source {
    std::int64_t index;
    bool crossed;
};

Source source_of(const Axis& axis, std::int64_t index);

// Cells [target, target + count) of a tile come from source cells [source, …), or all from `source`.
struct Run {
    std::int64_t target;
    std::int64_t source;
    std::int64_t count;
    bool replicated;
};

// The runs of `count` cells from index `first` on, the source turned by `shift` cells (periodic axes only).
std::vector<Run> runs_of(const Axis& axis, std::int64_t first, std::int64_t count, std::int64_t shift);

}  // namespace gfs_sr
