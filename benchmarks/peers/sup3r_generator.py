"""Time sup3r's spatio-temporal generator, made x6 in space and time with five outputs, in its own environment.

Set-up (its TensorFlow wants an older NumPy than ours, hence an environment of its own):

    benchmarks/peers/setup.sh build/peers
    build/peers/bin/python benchmarks/peers/sup3r_generator.py --size 24
    build/peers/bin/python benchmarks/peers/sup3r_generator.py --size 16 --train

The layers are those of the published `gen_3x_4x_2f` network (16 residual blocks of two 3-D convolutions, 64 wide, with
reflect padding), its expansions changed to 2·3 in time and 6 in space: 4.27 million parameters, random weights. Prints
one JSON object: seconds of every repeat of one forward pass of (1, size, size, 8, 5), or of one training step: forward,
mean absolute error, gradients, Adam, compiled to one graph.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

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


def training_step(network: CustomNetwork, coarse: tf.Tensor, fine_shape: tuple[int, ...]) -> Callable[[], object]:
    """One step of the content loss by Adam, as the peer trains its generator before and beside the adversary."""
    fine = tf.constant(np.random.default_rng(1).standard_normal(fine_shape, np.float32))
    optimizer = tf.keras.optimizers.Adam(1e-4)
    optimizer.build(network.weights)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            made = coarse
            for layer in network.layers:
                made = layer(made)
            loss = tf.reduce_mean(tf.abs(made - fine))
        optimizer.apply_gradients(zip(tape.gradient(loss, network.weights), network.weights, strict=True))
        return loss

    return lambda: step().numpy()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=24, help="coarse cells per side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", action="store_true", help="time training steps")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    network = generator()
    shape = (1, options.size, options.size, options.frames, 5)
    coarse = tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))

    def forward() -> tf.Tensor:
        return network.predict(coarse, to_numpy=False)

    fine = forward()
    work = training_step(network, coarse, fine.shape) if options.train else forward
    if options.train:
        work()  # traced and compiled
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    parameters = int(sum(np.prod(weight.shape) for weight in network.weights))
    print(json.dumps({"in": shape, "out": list(fine.shape), "parameters": parameters, "seconds": seconds}))


if __name__ == "__main__":
    main()
