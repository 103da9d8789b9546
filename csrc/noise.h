// Counter-based normals: the noise of a fine cell is a function of its key, so no tiling, batch or machine changes it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace gfs_sr {

using Words = std::array<std::uint32_t, 4>;

// Philox4x32 with 10 rounds. Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
Words philox(Words counter, std::array<std::uint32_t, 2> key);

// The standard normal quantile of (word + 1/2) / 2^32, by additions, multiplications and divisions alone, which every
// IEEE machine and library rounds alike. Source: Wichura 1988, algorithm AS 241.
float normal_of(std::uint32_t word);

// out (H, W) gets one normal for every cell of lat x lon, both in whole microdegrees, at one step of a sampler.
void fill_normals(std::uint64_t key, std::span<const std::int32_t> lat, std::span<const std::int32_t> lon,
                  std::uint32_t step, std::span<float> out, int threads);

enum class Distribution : std::uint8_t { normal, uniform };

// out (C, cells) gets `channels` numbers for every cell, each at (lat, lon) of its own in whole microdegrees. Channel c
// is step c of `fill_normals`; uniform numbers are multiples of 2^-24 below 1.
void fill_channels(std::uint64_t key, std::span<const std::int32_t> lat, std::span<const std::int32_t> lon,
                   Distribution distribution, std::int64_t channels, std::span<float> out, int threads);

}  // namespace gfs_sr
