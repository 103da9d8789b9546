#include "noise.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

#include "thread_pool.h"

namespace gfs_sr {
namespace {

constexpr std::uint32_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
constexpr std::uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;
constexpr int rounds = 10;

constexpr std::array<double, 8> central_above{3.3871328727963666080e0,  1.3314166789178437745e2,
                                              1.9715909503065514427e3,  1.3731693765509461125e4,
                                              4.5921953931549871457e4,  6.7265770927008700853e4,
                                              3.3430575583588128105e4,  2.5090809287301226727e3};
constexpr std::array<double, 8> central_below{1.0,                      4.2313330701600911252e1,
                                              6.8718700749205790830e2,  5.3941960214247511077e3,
                                              2.1213794301586595867e4,  3.9307895800092710610e4,
                                              2.8729085735721942674e4,  5.2264952788528545610e3};
constexpr std::array<double, 8> tail_above{1.42343711074968357734e0, 4.63033784615654529590e0,
                                           5.76949722146069140550e0, 3.64784832476320460504e0,
                                           1.27045825245236838258e0, 2.41780725177450611770e-1,
                                           2.27238449892691845833e-2, 7.74545014278341407640e-4};
constexpr std::array<double, 8> tail_below{1.0,                       2.05319162663775882187e0,
                                           1.67638483018380384940e0,  6.89767334985100004550e-1,
                                           1.48103976427480074590e-1, 1.51986665636164571966e-2,
                                           5.47593808499534494600e-4, 1.05075007164441684324e-9};
// 2/(2n + 1) of the series ln f = 2 (s + s³/3 + ...), s = (f - 1)/(f + 1)
constexpr std::array<double, 10> log_series{2.0,        2.0 / 3.0,  2.0 / 5.0,  2.0 / 7.0,  2.0 / 9.0,
                                            2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0, 2.0 / 17.0, 2.0 / 19.0};
constexpr double ln2 = 0.693147180559945309417;
constexpr double half_root = 0.707106781186547524401;

template <std::size_t Terms>
double polynomial(const std::array<double, Terms>& coefficients, double x) {
    double total = coefficients[Terms - 1];
    for (std::size_t term = Terms - 1; term-- > 0;) {
        total = total * x + coefficients[term];
    }
    return total;
}

double natural_log(double x) {
    int exponent = 0;
    double fraction = std::frexp(x, &exponent);
    if (fraction < half_root) {
        fraction *= 2.0;
        --exponent;
    }
    const double s = (fraction - 1.0) / (fraction + 1.0);
    return s * polynomial(log_series, s * s) + exponent * ln2;
}

// Of what a tail's logarithm can be, 2.5 to 23; libraries differ in the last bit of theirs. By Heron's iteration.
double square_root(double x) {
    double root = 1.204 + 0.1564 * x;
    for (int iteration = 0; iteration < 5; ++iteration) {
        root = 0.5 * (root + x / root);
    }
    return root;
}

}  // namespace

Words philox(Words counter, std::array<std::uint32_t, 2> key) {
    for (int round = 0; round < rounds; ++round) {
        const std::uint64_t product0 = std::uint64_t{multiplier0} * counter[0];
        const std::uint64_t product1 = std::uint64_t{multiplier1} * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key = {key[0] + weyl0, key[1] + weyl1};
    }
    return counter;
}

float normal_of(std::uint32_t word) {
    const double q = (static_cast<double>(word) + 0.5) * 0x1p-32 - 0.5;  // exact: 33 bits
    if (std::abs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return static_cast<float>(q * polynomial(central_above, r) / polynomial(central_below, r));
    }
    const double nearest = 0.5 - std::abs(q);
    const double r = square_root(-natural_log(nearest)) - 1.6;  // at most 4.8 - 1.6: the far tail of AS 241 is not met
    const double size = polynomial(tail_above, r) / polynomial(tail_below, r);
    return static_cast<float>(q < 0.0 ? -size : size);
}

void fill_normals(std::uint64_t key, std::span<const std::int32_t> lat, std::span<const std::int32_t> lon,
                  std::uint32_t step, std::span<float> out, int threads) {
    assert(out.size() == lat.size() * lon.size());
    const std::array<std::uint32_t, 2> words{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
    const auto rows = static_cast<std::int64_t>(lat.size());
    // four steps share the four words of a counter
    const std::uint32_t block = step / 4;
    const std::size_t word = step % 4;
    parallel_for(rows, useful_threads(threads, static_cast<std::int64_t>(out.size())), [&](std::int64_t row) {
        const auto at = static_cast<std::size_t>(row);
        float* const target = out.data() + at * lon.size();
        for (std::size_t column = 0; column < lon.size(); ++column) {
            const Words counter{static_cast<std::uint32_t>(lat[at]), static_cast<std::uint32_t>(lon[column]), block, 0};
            target[column] = normal_of(philox(counter, words)[word]);
        }
    });
}

void fill_channels(std::uint64_t key, std::span<const std::int32_t> lat, std::span<const std::int32_t> lon,
                   Distribution distribution, std::int64_t channels, std::span<float> out, int threads) {
    assert(lat.size() == lon.size());
    assert(out.size() == lat.size() * static_cast<std::size_t>(channels));
    const std::array<std::uint32_t, 2> words{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
    const auto cells = lat.size();
    const auto count = static_cast<std::size_t>(channels);
    constexpr std::size_t together = 256;  // cells of one item: rows of `out` stay in the cache
    const auto items = static_cast<std::int64_t>((cells + together - 1) / together);
    parallel_for(items, useful_threads(threads, static_cast<std::int64_t>(out.size())), [&](std::int64_t item) {
        const std::size_t first = static_cast<std::size_t>(item) * together;
        const std::size_t last = std::min(first + together, cells);
        for (std::size_t channel = 0; channel < count; channel += 4) {
            const auto block = static_cast<std::uint32_t>(channel / 4);
            const std::size_t used = std::min<std::size_t>(4, count - channel);
            for (std::size_t cell = first; cell < last; ++cell) {
                const Words drawn = philox(
                    {static_cast<std::uint32_t>(lat[cell]), static_cast<std::uint32_t>(lon[cell]), block, 0}, words);
                for (std::size_t word = 0; word < used; ++word) {
                    out[(channel + word) * cells + cell] = distribution == Distribution::normal
                                                               ? normal_of(drawn[word])
                                                               : static_cast<float>(drawn[word] >> 8) * 0x1p-24F;
                }
            }
        }
    });
}

}  // namespace gfs_sr
