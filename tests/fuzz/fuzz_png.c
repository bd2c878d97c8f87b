// Target: PNG files, as --replay reads them. Each input is read as it is, and with its chunks' checksums put right.
#define _GNU_SOURCE
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "lib/image.h"

static void read_file(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("png", 0);
    FUZZ_REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ecd_image image;
    ecd_image_texts texts;
    ecd_diag diag = {0};
    ecd_status status = ecd_image_read_png(path, &image, &texts, &diag);
    fuzz_check_fault(status, &diag);
    if (!status)
        fuzz_touch(image.pixels, (uint64_t)(image.width * image.height) * 3);
    for (size_t i = 0; !status && i < texts.count; i++)
        FUZZ_REQUIRE(ecd_image_texts_find(&texts, texts.items[i].key));
    ecd_image_free(&image);
    ecd_image_texts_free(&texts);
    close(fd);
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size > 1 << 16)
        return 0;
    read_file(input, size);
    uint8_t *file = malloc(size + 1);
    FUZZ_REQUIRE(file);
    if (size)
        memcpy(file, input, size);
    for (size_t at = 8; at + 12 <= size;) {
        uint32_t length = big_endian(file + at);
        if (length > size - at - 12)
            break;
        uint32_t crc = fuzz_crc32(file + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            file[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + (size_t)length;
    }
    read_file(file, size);
    free(file);
    return 0;
}
