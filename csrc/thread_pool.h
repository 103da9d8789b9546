// Threads for one call: workers take items from a shared counter and write disjoint output.
#pragma once

#include <cstdint>
#include <functional>

namespace gfs_sr {

#if defined(GFS_SR_SANITIZED)
inline constexpr std::int64_t least_cells_per_thread = 1;  // small plans must meet their races too
#else
inline constexpr std::int64_t least_cells_per_thread = std::int64_t{1} << 16;
#endif

// Threads worth starting: `requested` (0: one per processor), but each with enough cells to do.
int useful_threads(int requested, std::int64_t cells);

// Calls body(item) for every item in [0, items), on `threads` threads. The first exception is rethrown here.
// Threads live for one call only: a pool that outlives it would be lost after a fork, as in a data loader.
void parallel_for(std::int64_t items, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace gfs_sr
