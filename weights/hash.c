#include "weights/hash.h"

#include <stdint.h>

void ecd_hash_begin(ecd_hash *hash)
{
    sha256_init(&hash->context);
}

void ecd_hash_add(ecd_hash *hash, const void *data, size_t size_bytes)
{
    if (size_bytes)
        sha256_update(&hash->context, size_bytes, data);
}

void ecd_hash_end(ecd_hash *hash, char text[ECD_HASH_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&hash->context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[ECD_HASH_TEXT - 1] = 0;
}
