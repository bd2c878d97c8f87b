// SHA-256 of bytes that come in pieces, by nettle; as sha256sum(1) and the Hugging Face hub print it.
#ifndef ECD_WEIGHTS_HASH_H
#define ECD_WEIGHTS_HASH_H

#include <nettle/sha2.h>
#include <stddef.h>

enum { ECD_HASH_TEXT = 2 * SHA256_DIGEST_SIZE + 1 };

typedef struct ecd_hash {
    struct sha256_ctx context;
} ecd_hash;

void ecd_hash_begin(ecd_hash *hash);
void ecd_hash_add(ecd_hash *hash, const void *data, size_t size_bytes);
void ecd_hash_end(ecd_hash *hash, char text[ECD_HASH_TEXT]); // 64 hexadecimal digits

#endif
