// Threads for one call: workers take items from a shared counter and write disjoint output.
#pragma once

#include <cstdint>
#include <functional>

namespace gfs_sr {

// Threads worth starting: `requested` (0: one per processor), but each with at least `least_cells` cells to do.
int useful_threads(int requested, std::int64_t cells, std::int64_t least_cells = std::int64_t{1} << 16);

// Calls body(item) for every item in [0, items), on `threads` threads. The first exception is rethrown here.
// Threads live for one call only: a pool that outlives it would be lost after a fork, as in a data loader.
void parallel_for(std::int64_t items, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace gfs_sr
