// CRC32C: by table, and by the SSE4.2 instruction where the CPU has it.
#ifndef ECF8_CRC32C_H
#define ECF8_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// Both take and give the register without the inversions at both ends.
uint32_t ecf8_crc32c_table(uint32_t state, const uint8_t *p, size_t size);

#if defined(__x86_64__)
uint32_t ecf8_crc32c_sse42(uint32_t state, const uint8_t *p, size_t size);
#endif

#endif
