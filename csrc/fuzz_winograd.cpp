// Random shapes, vectors of every width -> the convolution -> the plain sum. usage: fuzz_winograd [rounds]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "fuzz.h"
#include "winograd.h"

namespace {

using namespace gfs_sr;

struct Shape {
    std::int64_t frames, inputs, outputs, size, height, width;
};

double plain(const Shape& of, const std::vector<float>& source, const std::vector<float>& weight, std::int64_t frame,
             std::int64_t k, std::int64_t y, std::int64_t x) {
    double sum = 0;
    for (std::int64_t c = 0; c < of.inputs; ++c) {
        for (std::int64_t i = 0; i < of.size; ++i) {
            for (std::int64_t j = 0; j < of.size; ++j) {
                const float value = source[index(((frame * of.inputs + c) * of.height + y + i) * of.width + x + j)];
                const float factor = weight[index(((k * of.inputs + c) * of.size + i) * of.size + j)];
                sum += static_cast<double>(value) * static_cast<double>(factor);
            }
        }
    }
    return sum;
}

// Buffers are exactly as large as promised, so that the sanitizer sees a step beyond them.
void round(std::mt19937& random, WinogradWorkspace& workspace) {
    const auto below = [&](std::int64_t limit) { return gfs_sr::below(random, limit); };
    const std::int64_t size = 3 + 2 * below(2);
    const Shape of{1 + below(3), 1 + below(12), 1 + below(20), size, size + below(14), size + below(150)};
    const std::int64_t height = of.height - size + 1, width = of.width - size + 1;
    std::normal_distribution<float> normal;
    const auto made = [&](std::int64_t count) {
        std::vector<float> values(index(count));
        for (float& value : values) value = normal(random);
        return values;
    };
    const auto source = made(of.frames * of.inputs * of.height * of.width),
               weight = made(of.outputs * of.inputs * size * size),
               bias = made(of.outputs), skip = made(of.frames * of.outputs * (height + 4) * (width + 4));
    const bool relu = below(2) == 1, skips = below(2) == 1;
    std::vector<float> target(index(of.frames * of.outputs * height * width), std::nanf(""));
    const WinogradConvolution convolution(weight.data(), bias.data(), of.outputs, of.inputs, size, relu);
    // one time in two the target lies in the place of what is skipped
    const bool in_place = skips && below(2) == 1;
    std::vector<float> field = skip;
    const std::int64_t row = width + 4, plane = (height + 4) * row;
    const FieldStack<const float> from{source.data(), of.inputs * of.height * of.width, of.height * of.width, of.width};
    const FieldStack<const float> skipped{skips ? field.data() : nullptr, of.outputs * plane, plane, row};
    const FieldStack<float> inside{field.data() + 2 * row + 2, of.outputs * plane, plane, row};
    const FieldStack<float> apart{target.data(), of.outputs * height * width, height * width, width};
    convolution.run(from, skipped, of.frames, of.height, of.width, in_place ? inside : apart, workspace,
                    1 + static_cast<int>(below(3)), 4 << below(3));
    for (std::int64_t frame = 0; frame < of.frames; ++frame) {
        for (std::int64_t k = 0; k < of.outputs; ++k) {
            for (std::int64_t y = 0; y < height; ++y) {
                for (std::int64_t x = 0; x < width; ++x) {
                    double value = plain(of, source, weight, frame, k, y, x) + static_cast<double>(bias[index(k)]);
                    if (relu) value = std::max(value, 0.0);
                    if (skips) {
                        const std::int64_t cell = (frame * of.outputs + k) * plane + (y + 2) * row + x + 2;
                        value += static_cast<double>(skip[index(cell)]);
                    }
                    const double result = static_cast<double>((in_place ? inside : apart).row(frame, k, y)[x]);
                    if (!(std::abs(result - value) < 4e-4)) {
                        std::fprintf(stderr, "fuzz_winograd: %g, not %g, frame %ld, output %ld, row %ld, column %ld\n",
                                     result, value, static_cast<long>(frame),
                                     static_cast<long>(k), static_cast<long>(y), static_cast<long>(x));
                        std::abort();
                    }
                }
            }
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    gfs_sr::WinogradWorkspace workspace;
    gfs_sr::fuzz("fuzz_winograd", count, arguments, 300, [&](std::mt19937& random) { round(random, workspace); });
}
