// 16 lanes: AVX-512.
#define GFS_SR_LANES 16
#define GFS_SR_OUTPUTS 8  // whose sums fit the registers
#define GFS_SR_LANES_NAMESPACE lanes16
#include "winograd_lanes.h"
