#include "text/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

static uint32_t unit_at(const ecd_charsmap *map, size_t index)
{
    const uint8_t *p = map->units + 4 * index;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t label(uint32_t unit) // of a leaf no byte's
{
    return unit & (UINT32_C(1) << 31 | 0xff);
}

static uint32_t offset(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

static uint32_t value(uint32_t leaf)
{
    return leaf & (UINT32_MAX >> 1);
}

// Every value that a walk may come upon lies in the unit before which a unit with a leaf flag points.
static ecd_status check_leaves(const ecd_charsmap *map, ecd_diag *diag)
{
    for (size_t i = 0; i < map->unit_count; i++) {
        uint32_t unit = unit_at(map, i);
        if (unit >> 31 || !has_leaf(unit))
            continue;
        size_t leaf = i ^ offset(unit);
        if (leaf >= map->unit_count)
            return ecd_fail(diag, ECD_DATA, "the character map's unit %zu points to unit %zu of %zu", i, leaf, map->unit_count);
        if (value(unit_at(map, leaf)) >= map->texts_size)
            return ecd_fail(diag, ECD_DATA, "the character map's unit %zu points to replacement byte %u of %zu", leaf,
                            (unsigned)value(unit_at(map, leaf)), map->texts_size);
    }
    return ECD_OK;
}

// Takes the bytes over, also when it fails.
static ecd_status take(uint8_t *bytes, size_t size, ecd_charsmap *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    *out = (ecd_charsmap){.bytes = bytes};
    uint64_t trie = size < 4 ? UINT64_MAX : bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint64_t)bytes[3] << 24;
    if (trie > size - 4 || trie % 4 || !trie) {
        status = ecd_fail(diag, ECD_DATA, "the character map of %zu bytes does not hold the trie that it announces", size);
        goto out;
    }
    out->units = bytes + 4;
    out->unit_count = trie / 4;
    out->texts = (const char *)bytes + 4 + trie;
    out->texts_size = size - 4 - trie;
    if (!out->texts_size || out->texts[out->texts_size - 1]) {
        status = ecd_fail(diag, ECD_DATA, "the character map's replacements do not end in a NUL");
        goto out;
    }
    if (ecd_utf8_check(out->texts, out->texts_size, NULL)) {
        status = ecd_fail(diag, ECD_DATA, "the character map's replacements are no valid UTF-8");
        goto out;
    }
    status = check_leaves(out, diag);
out:
    if (status)
        ecd_charsmap_free(out);
    return status;
}

ecd_status ecd_charsmap_new(const void *data, size_t size, ecd_charsmap *out, ecd_diag *diag)
{
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        return ecd_fail_memory(diag, size, "the character map");
    memcpy(bytes, data, size);
    return take(bytes, size, out, diag);
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

ecd_status ecd_charsmap_new_base64(const char *text, size_t size, ecd_charsmap *out, ecd_diag *diag)
{
    size_t used = size;
    for (int i = 0; i < 2 && used && text[used - 1] == '='; i++)
        used--;
    if (size % 4 || used % 4 == 1)
        return ecd_fail(diag, ECD_DATA, "precompiled_charsmap has %zu characters, which is no base64", size);
    uint8_t *bytes = malloc(used / 4 * 3 + 4);
    if (!bytes)
        return ecd_fail_memory(diag, used, "the character map");
    uint32_t bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < used; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0) {
            free(bytes);
            return ecd_fail(diag, ECD_DATA, "precompiled_charsmap's character %zu is no base64", i);
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4) // 24 bits in 4 digits: a byte is whole after the second, third and fourth
            bytes[written++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return take(bytes, written, out, diag);
}

void ecd_charsmap_free(ecd_charsmap *map)
{
    free(map->bytes);
    *map = (ecd_charsmap){0};
}

const char *ecd_charsmap_find(const ecd_charsmap *map, const char *text, size_t size, bool longest, size_t *length,
                              size_t *replacement_size)
{
    const char *found = NULL;
    if (!map->unit_count || !size)
        return NULL;
    size_t node = offset(unit_at(map, 0));
    for (size_t i = 0; i < size && text[i] && (longest || !found); i++) {
        node ^= (uint8_t)text[i];
        if (node >= map->unit_count)
            break;
        uint32_t unit = unit_at(map, node);
        if (label(unit) != (uint8_t)text[i])
            break;
        bool leaf = has_leaf(unit);
        node ^= offset(unit);
        if (!leaf)
            continue;
        found = map->texts + value(unit_at(map, node));
        *length = i + 1;
    }
    if (found)
        *replacement_size = strlen(found);
    return found;
}
