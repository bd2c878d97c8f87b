#include "text/utf8.h"

int32_t ecd_utf8_at(const char *text, size_t size, size_t at, size_t *length)
{
    static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = (uint8_t)text[at];
    *length = 1;
    if (first < 0x80)
        return first;
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size - at < bytes)
        return -1;
    int32_t character = first & (0xff >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        uint8_t next = (uint8_t)text[at + i];
        if ((next & 0xc0) != 0x80)
            return -1;
        character = character << 6 | (next & 0x3f);
    }
    if (character < least[bytes] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
        return -1;
    *length = bytes;
    return character;
}

size_t ecd_utf8_put(int32_t character, char out[4])
{
    uint32_t c = (uint32_t)character;
    size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t marks[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(marks[bytes] | c);
    return bytes;
}

ecd_status ecd_utf8_check(const char *text, size_t size, ecd_diag *diag)
{
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        if (ecd_utf8_at(text, size, at, &length) < 0)
            return ecd_fail(diag, ECD_USAGE, "the text is no valid UTF-8 (byte 0x%02x at byte %zu)",
                            (unsigned)(uint8_t)text[at], at);
    }
    return ECD_OK;
}

bool ecd_utf8_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
