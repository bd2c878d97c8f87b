// Encodes a tensor of E4M3 weights, decodes it and compares. C17, and C++ as well.
//
//     cc example.c $(pkg-config --cflags --libs ecf8) && ./a.out
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ecf8.h>

int main(void)
{
    enum { ROWS = 512, COLS = 1024, COUNT = ROWS * COLS };
    uint8_t *weights = (uint8_t *)malloc(COUNT), *back = (uint8_t *)malloc(COUNT);
    ecf8_params params = {ECF8_E4M3, ROWS, COLS, ECF8_DENSITY_FAST, 0};
    const uint64_t capacity = ecf8_encode_bound(COUNT, &params), work_bytes = ecf8_plan_bytes(COUNT, &params);
    void *blob = malloc(capacity), *work = malloc(work_bytes), *tables = malloc(ECF8_DECODER_MAX_BYTES);
    if (!weights || !back || !blob || !work || !tables)
        return 1;

    srand(1); // exponents 4 to 7, the lesser the rarer; sign and mantissa at random
    for (int i = 0; i < COUNT; i++)
        weights[i] = (uint8_t)((rand() & 0x87) | (4 + (__builtin_ctz((unsigned)rand() | 8) ^ 3)) << 3);

    uint64_t bytes = 0;
    ecf8_view view;
    ecf8_decoder decoder;
    ecf8_error error = {ECF8_OK, 0, 0, ""};
    ecf8_status status = ecf8_encode(weights, COUNT, &params, work, work_bytes, blob, capacity, &bytes);
    if (!status)
        status = ecf8_open(blob, bytes, &view, &error);
    if (!status)
        status = ecf8_decoder_init(&decoder, &view, tables, ECF8_DECODER_MAX_BYTES, ECF8_CPU_AUTO, &error);
    if (!status)
        status = ecf8_decode(&decoder, back, COUNT, ECF8_VERIFY, &error);
    if (status)
        printf("%s at byte %llu: expected %s\n", ecf8_status_name(status), (unsigned long long)error.offset_bytes,
               error.what);
    else
        printf("%d weights in %llu bytes, %s\n", COUNT, (unsigned long long)bytes,
               memcmp(weights, back, COUNT) ? "not the same" : "the same again");
    const int failed = status || memcmp(weights, back, COUNT) != 0;
    free(weights), free(back), free(blob), free(work), free(tables);
    return failed;
}
