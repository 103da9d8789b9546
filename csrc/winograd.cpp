#include "winograd.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "thread_pool.h"

namespace gfs_sr {

using ConvolveStrip = void (*)(const WinogradJob&, const WinogradStrip&, float*);

namespace lanes4 {
void convolve_strip(const WinogradJob&, const WinogradStrip&, float*);
}
#if defined(__x86_64__)
namespace lanes8 {
void convolve_strip(const WinogradJob&, const WinogradStrip&, float*);
}
namespace lanes16 {
void convolve_strip(const WinogradJob&, const WinogradStrip&, float*);
}
#endif

namespace {

constexpr std::int64_t planes = 36;
constexpr int widest = 16;
// Tiles times inputs of a strip: its planes stay in the last cache, and smaller ones would leave more lanes idle.
constexpr std::int64_t strip_values = 192 * 64;

struct Kernel {
    int lanes;
    ConvolveStrip convolve_strip;
};

// The widest kernel that this processor runs, of at most so many lanes.
Kernel kernel(int most_lanes) {
#if defined(__x86_64__)
    if (most_lanes >= 16 && __builtin_cpu_supports("avx512f")) return {16, lanes16::convolve_strip};
    if (most_lanes >= 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return {8, lanes8::convolve_strip};
    }
#endif
    return {4, lanes4::convolve_strip};
}

std::int64_t round_up(std::int64_t value, std::int64_t to) { return (value + to - 1) / to * to; }

// Rows of tiles in a strip: as many as fit, but so that few lanes of the last vector stay idle.
std::int64_t rows_of_strip(std::int64_t tile_columns, std::int64_t tile_rows, std::int64_t lanes,
                           std::int64_t most_tiles) {
    std::int64_t best = 1;
    double idle = 1e9;
    for (std::int64_t rows = 1; rows <= tile_rows && (rows == 1 || rows * tile_columns <= most_tiles); ++rows) {
        const std::int64_t tiles = rows * tile_columns;
        const double own = static_cast<double>(round_up(tiles, lanes)) / static_cast<double>(tiles);
        if (own <= idle) {
            best = rows;
            idle = own;
        }
    }
    return best;
}

}  // namespace

int winograd_lanes() { return kernel(widest).lanes; }

void WinogradWorkspace::Release::operator()(float* memory) const { std::free(memory); }

float* WinogradWorkspace::floats(std::int64_t count) {
    if (count > count_) {
        memory_.reset();
        const auto bytes = static_cast<std::size_t>(round_up(count * 4, 64));
        memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
        count_ = memory_ ? count : 0;
        if (!memory_) throw std::bad_alloc();
    }
    return memory_.get();
}

WinogradConvolution::WinogradConvolution(const float* weight, const float* bias, std::int64_t outputs,
                                         std::int64_t inputs, std::int64_t size, bool relu)
    : fields_(inputs),
      size_(size),
      inputs_(size == 3 ? inputs : 4 * inputs),
      outputs_(outputs),
      padded_outputs_(round_up(outputs, outputs_at_once)),
      relu_(relu),
      weights_(static_cast<std::size_t>(planes * padded_outputs_ * inputs_)),
      bias_(bias, bias + outputs) {
    if (size != 3 && size != 5) throw std::invalid_argument("the size of a convolution is 3 or 5");
    // G of the points 0, ±1/√2, ±√2, infinity: powers of the point over its distances from the others
    const double a = std::sqrt(0.5), b = std::sqrt(2.0);
    double g[6][3] = {{1, 0, 0}, {}, {}, {}, {}, {0, 0, 1}};
    const double point[4] = {a, -a, b, -b};
    for (int i = 0; i < 4; ++i) {
        const double square = point[i] * point[i], other = i < 2 ? 2.0 : 0.5;
        const double distance = 2 * square * (square - other);
        for (int power = 0; power < 3; ++power) g[i + 1][power] = std::pow(point[i], power) / distance;
    }
    for (std::int64_t k = 0; k < outputs; ++k) {
        for (std::int64_t c = 0; c < inputs_; ++c) {
            const float* w = weight + (k * inputs + c % inputs) * size * size;
            const std::int64_t row = c / inputs / 2 * WinogradJob::shift, column = c / inputs % 2 * WinogradJob::shift;
            double part[3][3] = {};  // what lies beyond the weights counts as 0
            for (std::int64_t y = 0; y < 3 && row + y < size; ++y) {
                for (std::int64_t x = 0; x < 3 && column + x < size; ++x) {
                    part[y][x] = static_cast<double>(w[(row + y) * size + column + x]);
                }
            }
            for (std::int64_t i = 0; i < 6; ++i) {
                for (std::int64_t j = 0; j < 6; ++j) {
                    double sum = 0;
                    for (std::int64_t y = 0; y < 3; ++y) {
                        for (std::int64_t x = 0; x < 3; ++x) sum += g[i][y] * g[j][x] * part[y][x];
                    }
                    const std::int64_t block = (k / outputs_at_once * planes + i * 6 + j) * inputs_;
                    weights_[static_cast<std::size_t>((block + c) * outputs_at_once + k % outputs_at_once)] =
                        static_cast<float>(sum);
                }
            }
        }
    }
}

void WinogradConvolution::run(const FieldStack<const float>& source, const FieldStack<const float>& skip,
                              std::int64_t frames, std::int64_t height, std::int64_t width,
                              const FieldStack<float>& target,
                              WinogradWorkspace& workspace, int threads, int most_lanes) const {
    if (height < size_ || width < size_) throw std::invalid_argument("the field is smaller than the convolution");
    if (frames == 0) return;
    const Kernel chosen = kernel(most_lanes);
    WinogradJob job{};
    job.source = source;
    job.skip = skip;
    job.target = target;
    job.weights = weights_.data();
    job.bias = bias_.data();
    job.relu = relu_;
    job.fields = fields_;
    job.inputs = inputs_;
    job.outputs = outputs_;
    job.padded_outputs = padded_outputs_;
    job.height = height;
    job.width = width;
    job.output_height = height - size_ + 1;
    job.output_width = width - size_ + 1;
    job.tile_rows = (job.output_height + tile - 1) / tile;
    job.tile_columns = (job.output_width + tile - 1) / tile;
    const std::int64_t all_rows = frames * job.tile_rows;
    const int workers = useful_threads(threads, frames * outputs_ * height * width);
    const std::int64_t most_tiles = strip_values / inputs_;
    const std::int64_t most_rows = rows_of_strip(job.tile_columns, all_rows, chosen.lanes, most_tiles);
    // as many for each worker, or the last one would keep all others waiting
    const std::int64_t strips = std::min(all_rows, round_up((all_rows + most_rows - 1) / most_rows, workers));
    const std::int64_t rows = (all_rows + strips - 1) / strips;
    job.plane_row = round_up(rows * job.tile_columns, widest) + widest;  // lanes beyond the last tile are written too
    // a multiple of 4096 bytes would fall on the same lines of the cache
    job.channel_step = planes * job.plane_row + widest;
    const std::int64_t floats = (inputs_ + outputs_at_once) * job.channel_step;
    float* const memory = workspace.floats(workers * floats);
    std::atomic<std::int64_t> next{0};
    parallel_for(workers, workers, [&](std::int64_t worker) {
        for (std::int64_t strip = next++; strip < strips; strip = next++) {
            chosen.convolve_strip(job, {strip * all_rows / strips, (strip + 1) * all_rows / strips},
                                  memory + worker * floats);
        }
    });
}

}  // namespace gfs_sr
