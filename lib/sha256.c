#include "lib/sha256.h"

#include <nettle/sha2.h>
#include <string.h>

void ecd_sha256(const void *data, size_t size_bytes, char out[ECD_SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, size_bytes, data);
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * sizeof digest] = 0;
}

bool ecd_sha256_is(const char *text)
{
    return strlen(text) == ECD_SHA256_TEXT - 1 && strspn(text, "0123456789abcdef") == ECD_SHA256_TEXT - 1;
}
