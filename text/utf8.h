// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef ECD_TEXT_UTF8_H
#define ECD_TEXT_UTF8_H

#include "base/status.h"

// The character at text[at], at < size, and its length in bytes in *length. -1 (and length 1) where the bytes are no UTF-8.
int32_t ecd_utf8_at(const char *text, size_t size, size_t at, size_t *length);

// Writes a character that is valid; returns its length, 1 to 4.
size_t ecd_utf8_put(int32_t character, char out[4]);

// ECD_USAGE where it is no UTF-8; the message says which byte is the first that is not, and where.
ecd_status ecd_utf8_check(const char *text, size_t size, ecd_diag *diag);

// Unicode's property White_Space, as Rust's char::is_whitespace and Oniguruma's \s have it.
bool ecd_utf8_is_space(int32_t character);

#endif
