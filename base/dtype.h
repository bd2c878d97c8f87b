// Element types of weights and activations, and their exact conversions.
//
// FP8 types as in "FP8 Formats for Deep Learning" (arXiv 2209.05433): E4M3 is torch.float8_e4m3fn (no infinities,
// NaN is 0x7f and 0xff, largest 448), E5M2 is torch.float8_e5m2 (IEEE-like, largest 57344).
// Conversions from float round to nearest, ties to even, and equal torch's (2.15) casts bit by bit, overflow included:
// E4M3 saturates at +-448, infinities too; E5M2 and the halves overflow to infinity; NaN stays NaN.
#ifndef ECD_BASE_DTYPE_H
#define ECD_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum ecd_dtype {
    ECD_DTYPE_UNKNOWN = 0,
    ECD_F32,
    ECD_F16,
    ECD_BF16,
    ECD_E4M3,
    ECD_E5M2,
    ECD_F64, // the types below are carried through files, never computed with
    ECD_I64,
    ECD_I32,
    ECD_I16,
    ECD_I8,
    ECD_U8,
    ECD_BOOL,
    ECD_DTYPE_COUNT
} ecd_dtype;

// Bytes of one element; 0 for ECD_DTYPE_UNKNOWN.
size_t ecd_dtype_size(ecd_dtype dtype);

// The spelling of safetensors: "F32", "BF16", "F8_E4M3", ... and back; ECD_DTYPE_UNKNOWN for a name not known.
const char *ecd_dtype_name(ecd_dtype dtype);
ecd_dtype ecd_dtype_of_name(const char *name);

float ecd_from_f16(uint16_t bits);
float ecd_from_bf16(uint16_t bits);
float ecd_from_e4m3(uint8_t bits);
float ecd_from_e5m2(uint8_t bits);

uint16_t ecd_to_f16(float value);
uint16_t ecd_to_bf16(float value);
uint8_t ecd_to_e4m3(float value);
uint8_t ecd_to_e5m2(float value);
uint8_t ecd_to_e4m3_saturating(float value); // ecd_to_e4m3, by the name that says what it does

// out[i] = float(in[i]) for `count` elements of a computable type (ECD_F32 to ECD_E5M2). `in` may be unaligned.
void ecd_to_f32(ecd_dtype dtype, const void *in, float *out, size_t count);

#endif
