#ifndef ECD_TESTS_CUDA_FAKE_DEVICE_NONE_H
#define ECD_TESTS_CUDA_FAKE_DEVICE_NONE_H

#include "kernels/cuda/kernels.h"

int ecd_fake_pieces(void); // of device memory that are not freed

#endif
