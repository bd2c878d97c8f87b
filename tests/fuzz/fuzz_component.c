// Target: a safetensors file of other programs' names, as each of its components: rows parted, halves swapped, scales cut.
#include "fuzz.h"

#include "weights/component_names.h"

// Text up to the first line end is the header, the rest are the bytes of tensors.
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    const uint8_t *end = size ? memchr(input, '\n', size) : NULL;
    uint64_t header = end ? (uint64_t)(end - input) : size;
    size_t rest = end ? size - header - 1 : 0;
    uint8_t *file = malloc(8 + header + rest);
    FUZZ_REQUIRE(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(header >> 8 * i);
    if (header)
        memcpy(file + 8, input, header);
    if (rest)
        memcpy(file + 8 + header, end + 1, rest);
    for (int i = 0; i < ECD_COMPONENTS; i++)
        fuzz_open_as(file, 8 + header + rest, ecd_safetensors_list, ecd_component_table[i].component);
    free(file);
    return 0;
}
