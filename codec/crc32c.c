#include "codec/crc32c.h"

#include "codec/format.h"

// Four bits at a time: 16 entries need no table of kilobytes, and the fast way is the instruction.
static const uint32_t nibble_table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t ecf8_crc32c_table(uint32_t state, const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        state ^= p[i];
        state = state >> 4 ^ nibble_table[state & 15];
        state = state >> 4 ^ nibble_table[state & 15];
    }
    return state;
}

uint32_t ecf8_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~ecf8_crc32c_sse42(~crc, data, size);
#endif
    return ~ecf8_crc32c_table(~crc, data, size);
}
