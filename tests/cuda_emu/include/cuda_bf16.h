// Stands in for the CUDA Toolkit's header where there is none.
#pragma once
#ifdef __cplusplus
#include "tests/cuda_emu/cuda_emu.h"
#endif
