// Target: a safetensors file, with the ECF8 containers, aliases and scales in it. An input that does not start with a
// header's length of its own size gets the right one, so that the fuzzer need not find it.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    fuzz_open(input, size, ecd_safetensors_list);
    // The same bytes as header and data, parted at the first line end.
    const uint8_t *end = size ? memchr(input, '\n', size) : NULL;
    uint64_t header = end ? (uint64_t)(end - input) : size;
    uint8_t *file = malloc(8 + size);
    FUZZ_REQUIRE(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(header >> 8 * i);
    if (header)
        memcpy(file + 8, input, header);
    size_t rest = end ? size - header - 1 : 0;
    if (rest)
        memcpy(file + 8 + header, end + 1, rest);
    uint8_t *exact = realloc(file, 8 + header + rest);
    FUZZ_REQUIRE(exact);
    fuzz_open(exact, 8 + header + rest, ecd_safetensors_list);
    free(exact);
    return 0;
}
