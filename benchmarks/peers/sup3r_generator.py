"""Time sup3r's spatio-temporal generator, made x6 in space and time with five outputs, in its own environment.

Set-up (its TensorFlow wants an older NumPy than ours, hence an environment of its own):

    python3 -m venv build/peers && build/peers/bin/pip install 'tensorflow-cpu==2.15.1' 'NREL-phygnn==0.0.30' 'numpy<2'
    build/peers/bin/python benchmarks/peers/sup3r_generator.py --size 24

The layers are those of the published `gen_3x_4x_2f` network (16 residual blocks of two 3-D convolutions, 64 wide, with
reflect padding), its expansions changed to 2·3 in time and 6 in space: 4.27 million parameters, random weights. Prints
one JSON object: seconds of every repeat of one forward pass of (1, size, size, 8, 5).
"""

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from phygnn import CustomNetwork


def convolution(filters: int) -> list[dict[str, object]]:
    """A 3-D convolution whose borders are reflected data, as the peer does it: pad 3, convolve, crop 2."""
    pad = [[0, 0], [3, 3], [3, 3], [3, 3], [0, 0]]
    return [
        {"class": "FlexiblePadding", "paddings": pad, "mode": "REFLECT"},
        {"class": "Conv3D", "filters": filters, "kernel_size": 3, "strides": 1},
        {"class": "Cropping3D", "cropping": 2},
    ]


def generator() -> CustomNetwork:
    """The network, by the peer's own layer library."""
    relu = {"alpha": 0.2, "class": "LeakyReLU"}
    layers: list[dict[str, object]] = []
    for factor in (2, 3):
        expansion = {"class": "SpatioTemporalExpansion", "temporal_mult": factor, "temporal_method": "nearest"}
        layers += [*convolution(64), relu, expansion]
    layers.append({"class": "SkipConnection", "name": "a"})
    for _ in range(16):
        skip = {"class": "SkipConnection", "name": "b"}
        layers += [skip, *convolution(64), relu, *convolution(64), skip]
    layers += [*convolution(64), {"class": "SkipConnection", "name": "a"}]
    layers += [*convolution(8 * 36), {"class": "SpatioTemporalExpansion", "spatial_mult": 6}, relu, *convolution(5)]
    return CustomNetwork(hidden_layers=layers)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=24, help="coarse cells per side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    network = generator()
    shape = (1, options.size, options.size, options.frames, 5)
    coarse = tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))

    def forward() -> tf.Tensor:
        return network.predict(coarse, to_numpy=False)

    fine = forward()
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        forward()
        seconds.append(time.perf_counter() - start)
    parameters = int(sum(np.prod(weight.shape) for weight in network.weights))
    print(json.dumps({"in": shape, "out": list(fine.shape), "parameters": parameters, "seconds": seconds}))


if __name__ == "__main__":
    main()
