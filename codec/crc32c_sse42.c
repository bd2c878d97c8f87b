// CRC32C by the instruction. It takes 8 bytes a cycle but gives its result after 3, so blocks of three parts are
// reckoned side by side and joined: the CRC of (A then zeros) is a linear map of that of A, here four look-ups.
#include <nmmintrin.h>

#include "codec/crc32c.h"
#include "codec/format.h"

enum { PART = 1024 };

// shift_part[k][b]: the register after byte b at place k, followed by PART zero bytes. Made by applying the
// map "one zero byte" PART times to each single bit; checked against the table method in the tests.
#include "codec/crc32c_shift.inc"

static uint32_t shift(uint32_t state)
{
    return shift_part[0][state & 255] ^ shift_part[1][state >> 8 & 255] ^ shift_part[2][state >> 16 & 255] ^
           shift_part[3][state >> 24];
}

uint32_t ecf8_crc32c_sse42(uint32_t state, const uint8_t *p, size_t size)
{
    while (size >= 3 * PART) {
        uint64_t a = state, b = 0, c = 0;
        for (size_t i = 0; i < PART; i += 8) {
            a = _mm_crc32_u64(a, ecf8_load64(p + i));
            b = _mm_crc32_u64(b, ecf8_load64(p + PART + i));
            c = _mm_crc32_u64(c, ecf8_load64(p + 2 * PART + i));
        }
        state = shift(shift((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
        p += 3 * PART;
        size -= 3 * PART;
    }
    for (; size >= 8; size -= 8, p += 8)
        state = (uint32_t)_mm_crc32_u64(state, ecf8_load64(p));
    for (; size; size--, p++)
        state = _mm_crc32_u8(state, *p);
    return state;
}
