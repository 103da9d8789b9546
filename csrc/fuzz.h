// What the rounds of all fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace gfs_sr {

inline std::size_t index(std::int64_t value) { return static_cast<std::size_t>(value); }

// A whole number from 0 on.
inline std::int64_t below(std::mt19937& random, std::int64_t limit) {
    return std::uniform_int_distribution<std::int64_t>(0, limit - 1)(random);
}

// As many rounds as the first argument says, always the same ones.
template <typename Round>
void fuzz(const char* name, int count, char** arguments, int rounds, Round round) {
    std::mt19937 random(0);
    if (count > 1) rounds = std::atoi(arguments[1]);
    for (int i = 0; i < rounds; ++i) round(random);
    std::printf("%s: %d rounds\n", name, rounds);
}

}  // namespace gfs_sr
