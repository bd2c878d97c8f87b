// libFuzzer target: open, then decode with verification, by every level. The metadata checksum is put right first, so
// that the fuzzer reaches what lies behind it. Without libFuzzer (ECF8_FUZZ_MAIN) the files named on the command line
// are replayed.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void try_blob(const uint8_t *blob, size_t size)
{
    ecf8_view view;
    ecf8_error error;
    if (ecf8_open(blob, size, &view, &error) || view.count > 1 << 20)
        return;
    const size_t out_bytes = (size_t)view.count * 4 + 1;
    void *memory = malloc(ECF8_DECODER_MAX_BYTES), *out = malloc(out_bytes);
    for (ecf8_cpu cpu = ECF8_CPU_SCALAR; memory && out && cpu <= ECF8_CPU_AVX512; cpu++) {
        ecf8_decoder decoder;
        if (ecf8_decoder_init(&decoder, &view, memory, ECF8_DECODER_MAX_BYTES, cpu, &error))
            continue;
        ecf8_decode(&decoder, out, out_bytes, ECF8_VERIFY, &error);
        const ecf8_output f32 = {ECF8_FORM_F32, NULL, 0};
        ecf8_decode_weights(&decoder, view.count / 3, view.count / 3, &f32, out, out_bytes, 0, &error);
    }
    free(memory);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    uint8_t *blob = malloc(size + 1);
    if (!blob)
        return 0;
    memcpy(blob, input, size);
    try_blob(blob, size);
    ecf8_error error;
    ecf8_view view;
    if (ecf8_open(blob, size, &view, &error) == ECF8_ERR_META_CHECKSUM) {
        // Its extents are right; the end of the metadata is not told, so each multiple of 64 is tried.
        for (size_t end = 64; end <= size && end <= 4096; end += 64) {
            ecf8_store32(blob + ECF8_AT_META_CRC, ecf8_meta_crc(blob, end));
            if (ecf8_open(blob, size, &view, &error) != ECF8_ERR_META_CHECKSUM)
                break;
        }
        try_blob(blob, size);
    }
    free(blob);
    return 0;
}

#ifdef ECF8_FUZZ_MAIN
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        static uint8_t data[1 << 20];
        FILE *f = fopen(argv[i], "rb");
        if (!f)
            return 1;
        const size_t size = fread(data, 1, sizeof data, f);
        fclose(f);
        LLVMFuzzerTestOneInput(data, size);
    }
    return argc < 2;
}
#endif
