// 3x3 convolution without padding by Winograd's F(4x4, 3x3): a quarter of the multiplications of the plain one. A 5x5
// convolution is four of 3x3 on shifted fields, added up: little more than a third.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace gfs_sr {

// (frames, fields, rows, columns), the values of a row side by side.
template <typename Value>
struct FieldStack {
    Value* first;
    std::int64_t frame_step, field_step, row_step;

    Value* row(std::int64_t frame, std::int64_t field, std::int64_t y) const {
        return first + frame * frame_step + field * field_step + y * row_step;
    }
};

// One convolution of one batch: shapes, and how its workspace is laid out.
struct WinogradJob {
    FieldStack<const float> source;  // (frames, inputs, height, width)
    FieldStack<const float> skip;    // (frames, outputs, output height + 4, output width + 4), or none
    FieldStack<float> target;        // (frames, outputs, output height, output width)
    const float* weights;
    const float* bias;
    bool relu;
    std::int64_t fields;  // of a frame of the source
    std::int64_t inputs;  // those, as often as they are shifted
    std::int64_t outputs, padded_outputs, height, width, output_height, output_width;
    std::int64_t tile_rows, tile_columns;  // of one frame
    std::int64_t plane_row;                // floats from one channel of a plane to the next: tiles of a strip, padded
    std::int64_t channel_step;             // from one channel's 36 planes to the next one's

    // A row of one input; those of a 5x5 convolution are its fields as often as they are shifted.
    const float* row(std::int64_t frame, std::int64_t input, std::int64_t y) const {
        return source.row(frame, input % fields, y + down(input)) + right(input);
    }
    std::int64_t down(std::int64_t input) const { return input / fields / 2 * shift; }
    std::int64_t right(std::int64_t input) const { return input / fields % 2 * shift; }

    static constexpr std::int64_t shift = 3;  // cells between the four parts of a 5x5 convolution
};

// Tile rows, counted through all frames.
struct WinogradStrip {
    std::int64_t first, stop;
};

// Memory that convolutions share, one after the other: it grows to the largest of them and stays.
class WinogradWorkspace {
   public:
    float* floats(std::int64_t count);  // at least so many, aligned to 64 bytes; what they held before is lost

   private:
    struct Release {
        void operator()(float* memory) const;
    };
    std::unique_ptr<float[], Release> memory_;
    std::int64_t count_ = 0;
};

// Weights are transformed once, when it is made.
class WinogradConvolution {
   public:
    static constexpr std::int64_t tile = 4;             // outputs of one tile along each axis
    static constexpr std::int64_t outputs_at_once = 8;  // channels whose weights lie side by side
    static constexpr std::int64_t skip_margin = 2;      // cells that a residual block's two convolutions use up

    // `weight` is (outputs, inputs, size, size), the size 3 or 5; `bias` one value for each output.
    WinogradConvolution(const float* weight, const float* bias, std::int64_t outputs, std::int64_t inputs,
                        std::int64_t size, bool relu);

    // source (frames, inputs, height, width) -> target (frames, outputs, height - size + 1, width - size + 1); threads
    // 0: all. A `skip`, two cells larger than the target on each side, or none, is added without its margin, after the
    // ReLU; the target may lie in its place. Vectors are as wide as the processor has them, of `most_lanes` floats at
    // most.
    void run(const FieldStack<const float>& source, const FieldStack<const float>& skip, std::int64_t frames,
             std::int64_t height, std::int64_t width, const FieldStack<float>& target, WinogradWorkspace& workspace,
             int threads, int most_lanes = 16) const;

    std::int64_t inputs() const { return fields_; }
    std::int64_t outputs() const { return outputs_; }
    std::int64_t size() const { return size_; }

   private:
    std::int64_t fields_, size_, inputs_, outputs_, padded_outputs_;
    bool relu_;
    std::vector<float> weights_;  // (padded outputs / 8, 36, inputs, 8)
    std::vector<float> bias_;
};

// Lanes of the vectors that `run` computes with here: 16, 8 or 4.
int winograd_lanes();

}  // namespace gfs_sr
