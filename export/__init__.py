"""From a checkpoint to an artifact that runs without torch: `python -m export.onnx`, `python -m export.trt`."""
