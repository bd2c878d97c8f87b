#include "codec/convert.h"

void ecf8_merge16_scalar(const uint8_t *symbols, const uint8_t *plane, ecf8_dtype dtype, uint16_t *out, size_t count)
{
    ecf8_merge16_body(symbols, plane, dtype, out, count);
}

void ecf8_convert_scalar(const void *in, ecf8_dtype dtype, ecf8_form form, const float *scale, void *out, size_t count)
{
    ecf8_convert_body(in, dtype, form, scale, out, count);
}
