#!/bin/sh
# Builds the core under the sanitizers, runs the round trip over random plans, convolutions and
# transpositions of random shapes. usage: sanitize.sh [build folder]
set -eu
here=$(dirname "$0")/..
build=${1:-build/sanitize}
for sanitizers in address,undefined thread; do
    cmake -S "$here" -B "$build/$sanitizers" -DGFS_SR_SANITIZE="$sanitizers" >/dev/null
    cmake --build "$build/$sanitizers"
    "$build/$sanitizers/fuzz_tiling" 3000
    "$build/$sanitizers/fuzz_winograd" 200
    "$build/$sanitizers/fuzz_stencil" 300
    "$build/$sanitizers/fuzz_bit_planes" 1000
done
