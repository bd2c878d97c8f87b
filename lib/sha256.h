// SHA-256 of a picture's RGB bytes, by nettle.
#ifndef ECD_LIB_SHA256_H
#define ECD_LIB_SHA256_H

#include <stdbool.h>
#include <stddef.h>

enum { ECD_SHA256_TEXT = 65 };

void ecd_sha256(const void *data, size_t size_bytes, char out[ECD_SHA256_TEXT]); // 64 hexadecimal digits
bool ecd_sha256_is(const char *text);                                           // are those what `text` is?

#endif
