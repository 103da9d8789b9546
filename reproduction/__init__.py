"""The reproduction sheet: every figure that the seed systems published, beside ours or the reason why there is none."""
