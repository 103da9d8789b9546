"""Time a network of dl4ds 1.8.0 itself, in its own environment, made by benchmarks/peers/dl4ds_setup.sh.

    build/dl4ds/bin/python benchmarks/peers/dl4ds_network.py --filters 8 --size 24 --batch 8 [--recurrent] [--train]

`resnet_spc`, or its recurrent form, as the package builds it, random weights, float32. Prints one JSON object: the size
of every weight, and seconds of every repeat of one forward pass, or of one training step: forward, mean absolute error,
gradients, Adam, compiled to one graph as its trainer does.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


def build(options: argparse.Namespace) -> Any:
    """The package's own network."""
    from dl4ds.models import net_postupsampling, recnet_postupsampling

    shared = {
        "backbone_block": "resnet", "upsampling": "spc", "scale": options.scale, "n_channels": options.channels,
        "n_aux_channels": 0, "lr_size": (options.size, options.size), "n_channels_out": options.channels,
        "n_filters": options.filters,
    }  # fmt: skip
    if options.recurrent:
        return recnet_postupsampling(**shared, time_window=options.batch, n_blocks=4)
    return net_postupsampling(**shared, n_blocks=6)


def training_step(network: Any, coarse: tf.Tensor, fine: tf.Tensor) -> Callable[[], object]:
    """One step of its supervised trainer's loss and optimizer."""
    optimizer = tf.keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(network(coarse, training=True) - fine))
        slopes = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(slopes, network.trainable_variables, strict=True))
        return loss

    return lambda: step().numpy()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=24, help="coarse cells per side")
    parser.add_argument("--batch", type=int, default=8, help="samples, or frames of the one window")
    parser.add_argument("--channels", type=int, default=5)
    parser.add_argument("--scale", type=int, default=6)
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--recurrent", action="store_true")
    parser.add_argument("--windows", type=int, default=1, help="of `batch` frames each, recurrent")
    parser.add_argument("--train", action="store_true", help="time training steps")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    network = build(options)
    shape: tuple[int, ...] = (options.batch, options.size, options.size, options.channels)
    if options.recurrent:
        shape = (options.windows, *shape)
    coarse = tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))
    graph = tf.function(lambda: network(coarse, training=False))
    fine = graph()
    work = training_step(network, coarse, tf.zeros_like(fine)) if options.train else graph
    for _ in range(2):
        work()  # traced and compiled
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    sizes = sorted(int(np.prod(weight.shape)) for weight in network.trainable_variables)
    print(json.dumps({"in": shape, "out": list(fine.shape), "sizes": sizes, "seconds": seconds}))


if __name__ == "__main__":
    main()
