"""sup3r from NetCDF to NetCDF: its published ×3/×4 generator with five outputs, random weights, eight padded chunks.

    benchmarks/peers/setup.sh build/peers        # installs sup3r too
    build/peers/bin/python benchmarks/peers/sup3r_end_to_end.py --work FOLDER coarse.nc

The configuration is the package's own (`gen_3x_4x_2f.json`), its last layer widened from 2 to 5 outputs. `--prepare`
makes the model's folder and ends; without it one run is timed from the first import to the collected file, as a user
would meet it, and one JSON object is printed: seconds by part, and the peak of resident memory.
"""

import time

START = time.perf_counter()  # before any import: they are part of what is timed

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SCALES = {  # mean and standard deviation: outputs shall lie within the physical limits that the peer enforces
    "temperature_2m": (280.0, 8.0),
    "u_10m": (0.0, 4.0),
    "relativehumidity_2m": (60.0, 10.0),
    "v_10m": (0.0, 4.0),
    "pressure_0m": (97000.0, 1500.0),
}
FEATURES = list(SCALES)
CHUNK, SPATIAL_PAD, TEMPORAL_PAD = (24, 24, 8), 4, 2


def prepare(folder: Path) -> None:
    """An untrained model in the form its own loader takes."""
    import sup3r
    import tensorflow as tf
    from sup3r.models import Sup3rGan

    configs = Path(sup3r.__file__).parent / "configs" / "spatiotemporal"
    layers = json.loads((configs / "gen_3x_4x_2f.json").read_text())["hidden_layers"]
    last = [layer for layer in layers if layer.get("class") == "Conv3D"][-1]
    last["filters"] = len(FEATURES)
    discriminator = json.loads((configs / "disc.json").read_text())["hidden_layers"]
    model = Sup3rGan(layers, discriminator, learning_rate=1e-4)
    model.meta.update(
        lr_features=FEATURES, hr_out_features=FEATURES, hr_exo_features=[], s_enhance=3, t_enhance=4,
        input_resolution={"spatial": "30km", "temporal": "60min"},
    )  # fmt: skip
    model.init_weights((1, 8, 8, 8, len(FEATURES)), (1, 24, 24, 32, len(FEATURES)))
    model.set_norm_stats(
        {name: mean for name, (mean, _) in SCALES.items()}, {name: sd for name, (_, sd) in SCALES.items()}
    )
    tf.keras.backend.clear_session()
    model.save(str(folder / "model"))


def run(source: Path, folder: Path) -> dict[str, float]:
    """One run, its parts in seconds."""
    from sup3r.pipeline.forward_pass import ForwardPass
    from sup3r.pipeline.strategy import ForwardPassStrategy
    from sup3r.postprocessing import CollectorNC

    imported = time.perf_counter()
    strategy = ForwardPassStrategy(
        str(source),
        model_kwargs={"model_dir": str(folder / "model")},
        fwp_chunk_shape=CHUNK,
        spatial_pad=SPATIAL_PAD,
        temporal_pad=TEMPORAL_PAD,
        input_handler_kwargs={"features": FEATURES},
        out_pattern=str(folder / "chunk_{file_id}.nc"),
        invert_uv=False,
        nn_fill=False,
        pass_workers=1,
        max_nodes=1,
    )
    opened = time.perf_counter()
    ForwardPass.run(strategy, 0)
    passed = time.perf_counter()
    chunks = sorted(str(path) for path in folder.glob("chunk_*.nc"))
    CollectorNC.collect(chunks, str(folder / "fine.nc"), FEATURES, overwrite=True)
    done = time.perf_counter()
    return {
        "import": imported - START, "open": opened - imported, "forward": passed - opened, "collect": done - passed,
        "total": done - START,
    }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--prepare", action="store_true")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.work)
        return
    seconds = run(options.source, options.work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak}))


if __name__ == "__main__":
    main()
