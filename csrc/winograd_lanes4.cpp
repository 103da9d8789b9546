// 4 lanes: every processor.
#define GFS_SR_LANES 4
#define GFS_SR_OUTPUTS 4  // whose sums fit the registers
#define GFS_SR_LANES_NAMESPACE lanes4
#include "winograd_lanes.h"
