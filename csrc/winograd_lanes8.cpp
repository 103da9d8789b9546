// 8 lanes: AVX2.
#define GFS_SR_LANES 8
#define GFS_SR_OUTPUTS 4  // whose sums fit the registers
#define GFS_SR_LANES_NAMESPACE lanes8
#include "winograd_lanes.h"
