// The Python face of the core: converts, checks every size, releases the GIL, calls. The only file with pybind11.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bit_planes.h"
#include "masking.h"
#include "noise.h"
#include "tiling.h"
#include "stencil.h"
#include "winograd.h"

namespace py = pybind11;
using namespace py::literals;

namespace gfs_sr {
namespace {

std::string text_of(const py::array& array) {
    return py::str("{} {} {}").format(array.dtype(), array.attr("shape"),
                                      py::bool_(array.flags() & py::array::c_style) ? "contiguous" : "strided");
}

std::string text_of(const std::vector<py::ssize_t>& shape) { return py::str(py::tuple(py::cast(shape))); }

// `array` as it lies in memory, or an error: a converted copy would hide a mistake, or lose what is written to it.
py::array checked(const py::handle& object, const char* name, char kind, py::ssize_t itemsize,
                  const std::vector<py::ssize_t>& shape, bool must_be_contiguous = true) {
    if (!py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(name) + " is no NumPy array but " +
                             std::string(py::str(py::type::of(object))));
    }
    auto array = py::reinterpret_borrow<py::array>(object);
    const bool is_native = array.dtype().attr("isnative").cast<bool>();
    if (array.dtype().kind() != kind || array.itemsize() != itemsize || !is_native) {
        throw InvalidArgument(std::string(name) + " is " + text_of(array) + ", need kind " + kind + " of " +
                              std::to_string(itemsize) + " bytes in native order");
    }
    if (!std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim())) {
        throw InvalidArgument(std::string(name) + " is " + text_of(array) + ", need shape " + text_of(shape));
    }
    if (must_be_contiguous && (array.flags() & py::array::c_style) == 0) {
        throw InvalidArgument(std::string(name) + " is " + text_of(array) + ", need it contiguous");
    }
    if (reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(itemsize) != 0) {
        throw InvalidArgument(std::string(name) + " is not aligned to its elements");
    }
    return array;
}

template <typename Value>
std::span<const Value> view(const py::array& array) {
    return {static_cast<const Value*>(array.data()), static_cast<std::size_t>(array.size())};
}

py::array per_channel(const py::handle& object, const char* name, py::ssize_t channels) {
    return checked(object, name, 'f', 4, {channels});
}

// Codes of transforms (C,) uint8, checked; none is linear throughout.
py::array transform_codes(const py::object& object, py::ssize_t channels) {
    if (object.is_none()) {
        return py::array_t<std::uint8_t>(0);
    }
    py::array codes = checked(object, "transform", 'u', 1, {channels});
    const auto* const first = static_cast<const std::uint8_t*>(codes.data());
    if (const auto* const unknown = std::find_if(first, first + channels, [](auto code) { return code >= transforms; });
        unknown != first + channels) {
        throw InvalidArgument("transform " + std::to_string(*unknown) + " is not among the " +
                              std::to_string(transforms) + " there are");
    }
    return codes;
}

std::byte* writable(py::array& array, const char* name) {
    if (!array.writeable()) {
        throw InvalidArgument(std::string(name) + " is read-only");
    }
    return static_cast<std::byte*>(array.mutable_data());
}

bool overlap(const py::array& a, const py::array& b) {
    const auto* const first = static_cast<const std::byte*>(a.data());
    const auto* const second = static_cast<const std::byte*>(b.data());
    return std::less<>{}(first, second + b.nbytes()) && std::less<>{}(second, first + a.nbytes());
}

void check_apart(const py::array& target, const py::array& source, const char* target_name, const char* source_name) {
    if (overlap(target, source)) {
        throw InvalidArgument(std::string(target_name) + " and " + source_name + " share memory");
    }
}

Element element_of(const py::array& array, const char* name) {
    const char kind = array.dtype().kind();
    if (kind == 'f' && array.itemsize() == 4) {
        return Element::float32;
    }
    if (kind == 'f' && array.itemsize() == 2) {
        return Element::float16;
    }
    if (kind == 'u' && array.itemsize() == 2) {
        return Element::bfloat16;
    }
    throw InvalidArgument(std::string(name) + " is " + text_of(array) +
                          ", need float32, float16, or uint16 for the bits of bfloat16");
}

py::array tiles_array(const py::handle& object, const char* name, const std::vector<py::ssize_t>& shape,
                      Element& element) {
    if (!py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(name) + " is no NumPy array");
    }
    element = element_of(py::reinterpret_borrow<py::array>(object), name);
    const char kind = element == Element::bfloat16 ? 'u' : 'f';
    return checked(object, name, kind, static_cast<py::ssize_t>(size_of(element)), shape);
}

// Frames (C, H, W); C is that of the first one where `channels` is negative.
std::vector<py::array> frame_arrays(const py::sequence& frames, const char* name, char kind, py::ssize_t itemsize,
                                    py::ssize_t& channels, const Plan& plan) {
    if (channels < 0) {
        if (frames.size() == 0 || !py::isinstance<py::array>(frames[0]) ||
            py::reinterpret_borrow<py::array>(frames[0]).ndim() != 3) {
            throw InvalidArgument(std::string(name) + ": need at least one array (C, H, W)");
        }
        channels = py::reinterpret_borrow<py::array>(frames[0]).shape(0);
    }
    std::vector<py::array> arrays;
    for (const py::handle& frame : frames) {
        const bool is_bool = py::isinstance<py::array>(frame) && kind == 'u' &&
                             py::reinterpret_borrow<py::array>(frame).dtype().kind() == 'b';
        arrays.push_back(
            checked(frame, name, is_bool ? 'b' : kind, itemsize, {channels, plan.lat.length, plan.lon.length}));
    }
    return arrays;
}

template <typename Value>
Frames<Value> frames_of(const std::vector<py::array>& arrays, std::int64_t first) {
    Frames<Value> frames{{}, first};
    for (const py::array& array : arrays) {
        frames.data.push_back(static_cast<const Value*>(array.data()));
    }
    return frames;
}

void gather_checked(const py::sequence& frames, std::int64_t first_frame, const Plan& plan, std::int64_t time_tile,
                    const std::vector<std::int64_t>& tiles, const py::object& transform, const py::object& offset,
                    const py::object& scale, const py::object& flip, const py::object& fill, const py::object& out,
                    int threads) {
    check_tiles(plan, time_tile, tiles);
    py::ssize_t channels = -1;
    const std::vector<py::array> sources = frame_arrays(frames, "frames", 'f', 4, channels, plan);
    check_frames(plan.time, time_tile, first_frame, std::ssize(sources));
    const py::array codes = transform_codes(transform, channels);
    const py::array offsets = per_channel(offset, "offset", channels);
    const py::array scales = per_channel(scale, "scale", channels);
    const py::array flips = checked(flip, "flip", 'b', 1, {channels});
    const py::array fills = fill.is_none() ? py::array_t<float>(0) : per_channel(fill, "fill", channels);
    Element element{};
    py::array target = tiles_array(
        out, "out", {std::ssize(tiles), plan.time.extent(), channels, plan.lat.extent(), plan.lon.extent()}, element);
    const std::span<std::byte> bytes(writable(target, "out"), static_cast<std::size_t>(target.nbytes()));
    for (const py::array& source : sources) {
        check_apart(target, source, "out", "frames");
    }
    const Normalization normalization{view<Transform>(codes), view<float>(offsets), view<float>(scales),
                                      view<std::uint8_t>(flips), view<float>(fills)};
    const Frames<float> window = frames_of<float>(sources, first_frame);
    const py::gil_scoped_release unlocked;
    gather(window, channels, plan, time_tile, tiles, normalization, bytes, element, threads);
}

void scatter_checked(const py::object& fine, const Plan& plan, std::int64_t time_tile,
                     const std::vector<std::int64_t>& tiles, std::int64_t scale_factor, std::int64_t time_factor,
                     const py::object& transform, const py::object& offset, const py::object& scale,
                     const py::object& low, const py::object& high, const py::sequence& masks,
                     std::int64_t first_mask, Registration registration, const py::object& bucket,
                     const py::object& out, std::array<std::int64_t, 3> origin, int threads) {
    check_tiles(plan, time_tile, tiles);
    constexpr std::int64_t largest_factor = 1 << 10;
    for (const std::int64_t factor : {scale_factor, time_factor}) {
        if (factor < 1 || factor > largest_factor) {
            throw InvalidArgument("factor " + std::to_string(factor) + " is not between 1 and " +
                                  std::to_string(largest_factor));
        }
    }
    if (!py::isinstance<py::array>(out) || py::reinterpret_borrow<py::array>(out).ndim() != 4) {
        throw InvalidArgument("out: need one array (T, C, H, W)");
    }
    auto target = py::reinterpret_borrow<py::array>(out);
    const py::ssize_t channels = target.shape(1);
    target = checked(out, "out", 'f', 4, {target.shape(0), channels, target.shape(2), target.shape(3)});
    const Window window{origin, {target.shape(0), target.shape(2), target.shape(3)}};
    const std::array<std::int64_t, 3> whole{time_factor * plan.time.length, scale_factor * plan.lat.length,
                                            scale_factor * plan.lon.length};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (window.first[axis] < 0 || window.first[axis] > whole[axis] - window.size[axis]) {
            throw InvalidArgument("out of " + std::to_string(window.size[axis]) + " from " +
                                  std::to_string(window.first[axis]) + " on along axis " + std::to_string(axis) +
                                  " leaves the fine domain of " + std::to_string(whole[axis]));
        }
    }
    Element element{};
    const py::array tiled = tiles_array(fine, "fine",
                                        {std::ssize(tiles), time_factor * plan.time.core, channels,
                                         scale_factor * plan.lat.core, scale_factor * plan.lon.core},
                                        element);
    py::ssize_t mask_channels = channels;
    const std::vector<py::array> sources = frame_arrays(masks, "mask", 'u', 1, mask_channels, plan);
    if (!sources.empty()) {
        // the last fine frames of a core may be nearest to the coarse frame behind it
        const std::int64_t behind = std::min<std::int64_t>(plan.time.after, 1);
        check_frames({plan.time.length, plan.time.core, 0, behind, Boundary::edge, {}, {}}, time_tile, first_mask,
                     std::ssize(sources));
    }
    const py::array codes = transform_codes(transform, channels);
    const py::array offsets = per_channel(offset, "offset", channels);
    const py::array scales = per_channel(scale, "scale", channels);
    const py::array lows = per_channel(low, "low", channels);
    const py::array highs = per_channel(high, "high", channels);
    const py::array buckets =
        bucket.is_none() ? py::array(py::array_t<bool>(0)) : checked(bucket, "bucket", 'b', 1, {channels});
    const std::span<float> cells(reinterpret_cast<float*>(writable(target, "out")),
                                 static_cast<std::size_t>(target.size()));
    check_apart(target, tiled, "out", "fine");
    for (const py::array& source : sources) {
        check_apart(target, source, "out", "mask");
    }
    const Refinement refinement{scale_factor, time_factor, registration, view<std::uint8_t>(buckets)};
    const Denormalization denormalization{view<Transform>(codes), view<float>(offsets), view<float>(scales),
                                          view<float>(lows), view<float>(highs)};
    const Frames<std::uint8_t> missing = frames_of<std::uint8_t>(sources, first_mask);
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(tiled.data()),
                                           static_cast<std::size_t>(tiled.nbytes()));
    const py::gil_scoped_release unlocked;
    scatter(bytes, element, channels, plan, time_tile, tiles, refinement, denormalization, missing, window, cells,
            threads);
}

py::tuple fill_nearest_checked(const py::object& frame, bool is_periodic, int threads) {
    if (!py::isinstance<py::array>(frame) || py::reinterpret_borrow<py::array>(frame).ndim() != 3) {
        throw InvalidArgument("frame: need one array (C, H, W)");
    }
    const auto given = py::reinterpret_borrow<py::array>(frame);
    const std::vector<py::ssize_t> shape(given.shape(), given.shape() + 3);
    const py::array source = checked(frame, "frame", 'f', 4, shape);
    py::array_t<float> filled(shape);
    py::array_t<std::uint8_t> mask(shape);
    const std::span<float> cells(filled.mutable_data(), static_cast<std::size_t>(filled.size()));
    const std::span<std::uint8_t> flags(mask.mutable_data(), static_cast<std::size_t>(mask.size()));
    const std::span<const float> values = view<float>(source);
    {
        const py::gil_scoped_release unlocked;
        std::copy(values.begin(), values.end(), cells.begin());
        fill_nearest(cells, flags, shape[0], shape[1], shape[2], is_periodic, threads);
    }
    return py::make_tuple(filled, mask);
}

Boundary boundary_of(const std::string& name) {
    if (name == "edge") {
        return Boundary::edge;
    }
    if (name == "periodic") {
        return Boundary::periodic;
    }
    if (name == "pole") {
        return Boundary::pole;
    }
    throw InvalidArgument("boundary '" + name + "' is none of edge, periodic, pole");
}

void fill_normals_checked(std::uint64_t key, const py::object& lat, const py::object& lon, std::uint32_t step,
                          const py::object& out, int threads) {
    const py::ssize_t rows = py::reinterpret_borrow<py::array>(lat).size();
    const py::ssize_t columns = py::reinterpret_borrow<py::array>(lon).size();
    const py::array north_to_south = checked(lat, "lat", 'i', 4, {rows});
    const py::array west_to_east = checked(lon, "lon", 'i', 4, {columns});
    py::array target = checked(out, "out", 'f', 4, {rows, columns});
    auto* const first = reinterpret_cast<float*>(writable(target, "out"));
    const std::span<float> normals{first, static_cast<std::size_t>(target.size())};
    const py::gil_scoped_release unlocked;
    fill_normals(key, view<std::int32_t>(north_to_south), view<std::int32_t>(west_to_east), step, normals, threads);
}

void fill_channels_checked(std::uint64_t key, const py::object& lat, const py::object& lon, bool is_uniform,
                           const py::object& out, int threads) {
    if (!py::isinstance<py::array>(out) || py::reinterpret_borrow<py::array>(out).ndim() != 2) {
        throw InvalidArgument("out: need one array (C, cells)");
    }
    const py::ssize_t cells = py::reinterpret_borrow<py::array>(lat).size();
    const py::ssize_t channels = py::reinterpret_borrow<py::array>(out).shape(0);
    const py::array latitudes = checked(lat, "lat", 'i', 4, {cells});
    const py::array longitudes = checked(lon, "lon", 'i', 4, {cells});
    py::array target = checked(out, "out", 'f', 4, {channels, cells});
    auto* const first = reinterpret_cast<float*>(writable(target, "out"));
    const std::span<float> numbers{first, static_cast<std::size_t>(target.size())};
    const py::gil_scoped_release unlocked;
    fill_channels(key, view<std::int32_t>(latitudes), view<std::int32_t>(longitudes),
                  is_uniform ? Distribution::uniform : Distribution::normal, channels, numbers, threads);
}

WinogradConvolution convolution_checked(const py::object& weight, const py::object& bias, bool relu) {
    const auto shape = py::reinterpret_borrow<py::array>(weight);
    if (!py::isinstance<py::array>(weight) || shape.ndim() != 4) {
        throw InvalidArgument("weight is no array of (outputs, inputs, 3, 3) or (outputs, inputs, 5, 5)");
    }
    const py::ssize_t size = shape.shape(2) == 5 ? 5 : 3;
    const py::array own = checked(weight, "weight", 'f', 4, {shape.shape(0), shape.shape(1), size, size});
    const py::array constant = per_channel(bias, "bias", own.shape(0));
    return {view<float>(own).data(), view<float>(constant).data(), own.shape(0), own.shape(1), size, relu};
}

// Fields of any strides, as long as the values of a row lie side by side.
template <typename Value>
FieldStack<Value> stack_checked(const py::object& object, const char* name, const std::vector<py::ssize_t>& shape) {
    py::array array = checked(object, name, 'f', 4, shape, false);
    const auto step = [&](int axis) { return array.strides(axis) / array.itemsize(); };
    for (int axis = 0; axis < 4; ++axis) {
        if (array.strides(axis) < 0 || array.strides(axis) % array.itemsize() != 0 || (axis == 3 && step(3) != 1)) {
            throw InvalidArgument(std::string(name) + " is " + text_of(array) +
                                  ", need the values of a row side by side");
        }
    }
    if constexpr (std::is_const_v<Value>) {
        return {static_cast<Value*>(array.data()), step(0), step(1), step(2)};
    } else {
        return {static_cast<Value*>(array.mutable_data()), step(0), step(1), step(2)};
    }
}

void convolve_checked(const WinogradConvolution& convolution, const py::object& source_object,
                      const py::object& target_object, const py::object& skip_object, WinogradWorkspace& workspace,
                      int threads, int most_lanes) {
    const auto shape = py::reinterpret_borrow<py::array>(source_object);
    if (!py::isinstance<py::array>(source_object) || shape.ndim() != 4 || shape.shape(2) < convolution.size() ||
        shape.shape(3) < convolution.size()) {
        const std::string size = std::to_string(convolution.size());
        throw InvalidArgument("source is no array of (frames, inputs, " + size + " or more rows, " + size +
                              " or more columns)");
    }
    const py::ssize_t frames = shape.shape(0), height = shape.shape(2), width = shape.shape(3);
    const py::ssize_t rows = height - convolution.size() + 1, columns = width - convolution.size() + 1;
    const auto source =
        stack_checked<const float>(source_object, "source", {frames, convolution.inputs(), height, width});
    const auto target = stack_checked<float>(target_object, "target", {frames, convolution.outputs(), rows, columns});
    FieldStack<const float> skip{};
    if (!skip_object.is_none()) {
        const py::ssize_t margin = 2 * WinogradConvolution::skip_margin;
        skip = stack_checked<const float>(skip_object, "skip",
                                           {frames, convolution.outputs(), rows + margin, columns + margin});
    }
    const py::gil_scoped_release unlocked;
    convolution.run(source, skip, frames, height, width, target, workspace, threads, most_lanes);
}

void stencil_checked(const py::object& weight_object, const py::object& source_object, const py::object& target_object,
                     int threads) {
    const auto kernel = py::reinterpret_borrow<py::array>(weight_object);
    if (!py::isinstance<py::array>(weight_object) || kernel.ndim() != 4) {
        throw InvalidArgument("weight is no array of (outputs, 1, rows, columns)");
    }
    const py::ssize_t outputs = kernel.shape(0), high = kernel.shape(2), wide = kernel.shape(3);
    const py::array own = checked(weight_object, "weight", 'f', 4, {outputs, 1, high, wide});
    const auto shape = py::reinterpret_borrow<py::array>(source_object);
    if (!py::isinstance<py::array>(source_object) || shape.ndim() != 4 || shape.shape(2) < high ||
        shape.shape(3) < wide) {
        throw InvalidArgument("source is no array of (frames, 1, " + std::to_string(high) + " or more rows, " +
                              std::to_string(wide) + " or more columns)");
    }
    const py::ssize_t frames = shape.shape(0), height = shape.shape(2), width = shape.shape(3);
    const auto source = stack_checked<const float>(source_object, "source", {frames, 1, height, width});
    const auto target =
        stack_checked<float>(target_object, "target", {frames, outputs, height - high + 1, width - wide + 1});
    const py::gil_scoped_release unlocked;
    convolve({view<float>(own).data(), outputs, high, wide}, source, frames, height, width, target, threads);
}

void bit_planes_checked(const py::object& source_object, const py::object& target_object, py::ssize_t block,
                        int most_bytes) {
    const auto shape = py::reinterpret_borrow<py::array>(source_object);
    if (!py::isinstance<py::array>(source_object) || shape.ndim() != 3 || shape.size() % 8 != 0 || block <= 0 ||
        block % 8 != 0) {
        throw InvalidArgument("source is no array of (frames, rows, columns), or it or its blocks of " +
                              std::to_string(block) + " are no multiple of 8 values");
    }
    const py::array source =
        checked(source_object, "source", 'f', 4, {shape.shape(0), shape.shape(1), shape.shape(2)}, false);
    if (source.size() > 0 && source.shape(2) > 1 && source.strides(2) != source.itemsize()) {
        throw InvalidArgument("source is " + text_of(source) + ", need the values of a row side by side");
    }
    py::array target = checked(target_object, "target", 'u', 1, {4 * source.size()});
    // values of 4 bytes, whatever they mean: the copy of what they are is the same
    const BitPlanesSource values{static_cast<const std::uint32_t*>(source.data()), source.strides(0) / 4,
                                 source.strides(1) / 4, source.shape(0), source.shape(1), source.shape(2)};
    auto* const to = static_cast<std::uint8_t*>(target.mutable_data());
    const py::gil_scoped_release unlocked;
    bit_planes(values, block, to, most_bytes);
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "Compiled tiling: gather, scatter, filling of missing cells. gfs_sr.runtime.tiling is its typed face.";
    py::class_<Axis>(m, "Axis").def(
        py::init([](std::int64_t length, std::int64_t core, std::int64_t before, std::int64_t after,
                    const std::string& boundary, std::optional<std::int64_t> north, std::optional<std::int64_t> south) {
            const Axis axis{length, core, before, after, boundary_of(boundary), north, south};
            axis.check(boundary.c_str());
            return axis;
        }),
        "length"_a, "core"_a, "before"_a, "after"_a, "boundary"_a, "north"_a = py::none(), "south"_a = py::none());
    py::class_<Plan>(m, "Plan").def(py::init([](const Axis& time, const Axis& lat, const Axis& lon) {
                                        const Plan plan{time, lat, lon};
                                        plan.check();
                                        return plan;
                                    }),
                                    "time"_a, "lat"_a, "lon"_a);
    m.def("source_of", [](const Axis& axis, std::int64_t index) {
        const Source source = source_of(axis, index);
        return std::pair(source.index, source.crossed);
    }, "axis"_a, "index"_a);
    m.def("gather", &gather_checked, "frames"_a, "first_frame"_a, "plan"_a, "time_tile"_a, "tiles"_a, "transform"_a,
          "offset"_a, "scale"_a, "flip"_a, "fill"_a, "out"_a, "threads"_a);
    m.def("scatter",
          [](const py::object& fine, const Plan& plan, std::int64_t time_tile, const std::vector<std::int64_t>& tiles,
             std::int64_t scale_factor, std::int64_t time_factor, const py::object& transform, const py::object& offset,
             const py::object& scale, const py::object& low, const py::object& high, const py::sequence& masks,
             std::int64_t first_mask, bool is_node, const py::object& bucket, const py::object& out,
             std::array<std::int64_t, 3> origin, int threads) {
              scatter_checked(fine, plan, time_tile, tiles, scale_factor, time_factor, transform, offset, scale, low,
                              high, masks, first_mask, is_node ? Registration::node : Registration::cell, bucket, out,
                              origin, threads);
          },
          "fine"_a, "plan"_a, "time_tile"_a, "tiles"_a, "scale_factor"_a, "time_factor"_a, "transform"_a,
          "offset"_a, "scale"_a, "low"_a, "high"_a, "masks"_a, "first_mask"_a, "is_node"_a, "bucket"_a, "out"_a,
          "origin"_a, "threads"_a);
    m.def("fill_nearest", &fill_nearest_checked, "frame"_a, "is_periodic"_a, "threads"_a);
    m.def("philox", &philox, "counter"_a, "key"_a);
    m.def("fill_normals", &fill_normals_checked, "key"_a, "lat"_a, "lon"_a, "step"_a, "out"_a, "threads"_a);
    m.def("fill_channels", &fill_channels_checked, "key"_a, "lat"_a, "lon"_a, "is_uniform"_a, "out"_a, "threads"_a);
    py::class_<WinogradWorkspace>(m, "WinogradWorkspace").def(py::init<>());
    py::class_<WinogradConvolution>(m, "WinogradConvolution")
        .def(py::init(&convolution_checked), "weight"_a, "bias"_a, "relu"_a)
        .def_property_readonly("outputs", &WinogradConvolution::outputs)
        .def_property_readonly("size", &WinogradConvolution::size)
        .def("run", &convolve_checked, "source"_a, "target"_a, "skip"_a, "workspace"_a, "threads"_a,
             "most_lanes"_a = 16);
    m.def("winograd_lanes", &winograd_lanes);
    m.def("convolve_field", &stencil_checked, "weight"_a, "source"_a, "target"_a, "threads"_a);
    m.def("bit_planes", &bit_planes_checked, "source"_a, "target"_a, "block"_a, "most_bytes"_a = 64);
    m.def("bit_planes_bytes", &bit_planes_bytes);
    m.def("to_half_portable", [](const py::object& values) {
        const py::array source = checked(values, "values", 'f', 4, {py::reinterpret_borrow<py::array>(values).size()});
        py::array_t<std::uint16_t> half(source.size());
        to_half_portable(view<float>(source).data(), half.mutable_data(), source.size());
        return half;
    }, "values"_a);
    m.def("from_half_portable", [](const py::object& values) {
        const py::array source = checked(values, "values", 'u', 2, {py::reinterpret_borrow<py::array>(values).size()});
        py::array_t<float> wide(source.size());
        from_half_portable(view<std::uint16_t>(source).data(), wide.mutable_data(), source.size());
        return wide;
    }, "values"_a);
}

}  // namespace gfs_sr
