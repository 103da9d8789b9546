#include "axis.h"

#include <algorithm>
#include <string>

namespace gfs_sr {
namespace {

// far beyond any field, and small enough that no product of two overflows
constexpr std::int64_t longest = std::int64_t{1} << 30;

void check_range(const char* name, const char* what, std::int64_t value, std::int64_t least) {
    if (value < least || value > longest) {
        throw InvalidArgument(std::string(name) + " axis: " + what + " is " + std::to_string(value) + ", need " +
                              std::to_string(least) + " to " + std::to_string(longest));
    }
}

std::int64_t wrap(std::int64_t index, std::int64_t length) {
    const std::int64_t rest = index % length;
    return rest < 0 ? rest + length : rest;
}

std::int64_t clamp(std::int64_t index, std::int64_t length) {
    if (index < 0) {
        return 0;
    }
    return index < length ? index : length - 1;
}

}  // namespace

void Axis::check(const char* name) const {
    check_range(name, "length", length, 1);
    check_range(name, "core", core, 1);
    check_range(name, "halo before", before, 0);
    check_range(name, "halo after", after, 0);
    for (const std::optional<std::int64_t>& offset : {north, south}) {
        if (offset && boundary != Boundary::pole) {
            throw InvalidArgument(std::string(name) + " axis: pole offsets are for the pole boundary");
        }
        if (offset && *offset != 0 && *offset != 1) {
            throw InvalidArgument(std::string(name) + " axis: pole offset is " + std::to_string(*offset) +
                                  ", need 0 or 1");
        }
    }
    if (length == 1 && north && south && *north + *south == 0) {
        throw InvalidArgument(std::string(name) + " axis: one row cannot lie on both poles");
    }
}

Source source_of(const Axis& axis, std::int64_t index) {
    switch (axis.boundary) {
        case Boundary::edge: return {clamp(index, axis.length), false};
        case Boundary::periodic: return {wrap(index, axis.length), false};
        case Boundary::pole: break;
    }
    bool crossed = false;
    if (axis.north && axis.south) {  // whole turns first, so that the loop below is short for any halo
        const std::int64_t turn = 2 * axis.length - 2 + *axis.north + *axis.south;
        if (index < 0) {
            index += (-index - 1) / turn * turn;
        } else if (index >= axis.length) {
            index -= (index - axis.length) / turn * turn;
        }
    }
    while (true) {
        if (index < 0 && axis.north) {
            index = -index - *axis.north;
        } else if (index >= axis.length && axis.south) {
            index = 2 * (axis.length - 1) - index + *axis.south;
        } else {
            return {clamp(index, axis.length), crossed};
        }
        crossed = !crossed;
    }
}

std::vector<Run> runs_of(const Axis& axis, std::int64_t first, std::int64_t count, std::int64_t shift) {
    std::vector<Run> runs;
    std::int64_t target = 0;
    while (target < count) {
        const std::int64_t index = first + target;
        const std::int64_t left = count - target;
        Run run{target, 0, left, false};
        if (axis.boundary == Boundary::periodic) {
            run.source = wrap(index + shift, axis.length);
            run.count = std::min(left, axis.length - run.source);
        } else if (index < 0) {
            run = {target, 0, std::min(left, -index), true};
        } else if (index >= axis.length) {
            run = {target, axis.length - 1, left, true};
        } else {
            run.source = index;
            run.count = std::min(left, axis.length - index);
        }
        runs.push_back(run);
        target += run.count;
    }
    return runs;
}

}  // namespace gfs_sr
