// Random shapes -> the convolution -> the plain sum. usage: fuzz_stencil [rounds]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "fuzz.h"
#include "stencil.h"

namespace {

using namespace gfs_sr;

// Buffers are exactly as large as promised, so that the sanitizer sees a step beyond them.
void round(std::mt19937& random) {
    const auto below = [&](std::int64_t limit) { return gfs_sr::below(random, limit); };
    const std::int64_t frames = 1 + below(3), outputs = 1 + below(8), rows = 1 + below(9), columns = 1 + below(9);
    const std::int64_t height = rows + below(10), width = columns + below(200);
    const std::int64_t high = height - rows + 1, wide = width - columns + 1;
    std::normal_distribution<float> normal;
    std::vector<float> source(index(frames * height * width)), weight(index(outputs * rows * columns));
    for (float& value : source) value = normal(random);
    for (float& value : weight) value = normal(random);
    std::vector<float> target(index(frames * outputs * high * wide), std::nanf(""));
    convolve({weight.data(), outputs, rows, columns}, {source.data(), height * width, height * width, width}, frames,
             height, width, {target.data(), outputs * high * wide, high * wide, wide}, 1 + static_cast<int>(below(3)));
    for (std::int64_t frame = 0; frame < frames; ++frame) {
        for (std::int64_t k = 0; k < outputs; ++k) {
            for (std::int64_t y = 0; y < high; ++y) {
                for (std::int64_t x = 0; x < wide; ++x) {
                    double sum = 0;
                    for (std::int64_t i = 0; i < rows; ++i) {
                        for (std::int64_t j = 0; j < columns; ++j) {
                            sum += static_cast<double>(weight[index((k * rows + i) * columns + j)]) *
                                   static_cast<double>(source[index((frame * height + y + i) * width + x + j)]);
                        }
                    }
                    const double result = static_cast<double>(target[index(((frame * outputs + k) * high + y) * wide + x)]);
                    if (!(std::abs(result - sum) < 1e-4)) {
                        std::fprintf(stderr, "fuzz_stencil: %g, not %g, frame %ld, output %ld, row %ld, column %ld\n",
                                     result, sum, static_cast<long>(frame), static_cast<long>(k), static_cast<long>(y),
                                     static_cast<long>(x));
                        std::abort();
                    }
                }
            }
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    gfs_sr::fuzz("fuzz_stencil", count, arguments, 300, [](std::mt19937& random) { round(random); });
}
