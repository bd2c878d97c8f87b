// Stands in for the CUDA Toolkit's header where there is none.
#ifndef ECD_EMU_CUDA_RUNTIME_H
#define ECD_EMU_CUDA_RUNTIME_H
#include <cuda_runtime_api.h>
#ifdef __cplusplus
#include "tests/cuda_emu/cuda_emu.h"
#endif
#endif
