// The AVX-512 decoder's own source over plain C, so that machines without AVX-512 test it too.
#define ECF8_V512_EMULATE 1
#define ECF8_V512_KERNELS ecf8_kernels_v512_emulated
#include "codec/lanes.h"

extern const ecf8_kernels ecf8_kernels_v512_emulated;

#include "codec/lanes_avx512.c"
