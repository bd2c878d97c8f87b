#include "text/strings.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "text/utf8.h"

void ecd_strings_free(ecd_strings *s)
{
    free(s->text);
    free(s->ends);
    *s = (ecd_strings){0};
}

void ecd_strings_clear(ecd_strings *s)
{
    s->size = s->count = 0;
}

static bool failed(const ecd_strings *s)
{
    return s->no_memory || s->too_long;
}

static void *grow(ecd_strings *s, void *memory, size_t *capacity, size_t wanted, size_t element)
{
    void *grown = ecd_grow(memory, wanted, capacity, element);
    s->no_memory = s->no_memory || !grown;
    return grown ? grown : memory;
}

void ecd_strings_add(ecd_strings *s, const char *data, size_t size)
{
    if (failed(s) || !size)
        return;
    if (size > ECD_STRINGS_MAX_BYTES - s->size) {
        s->too_long = true;
        return;
    }
    if (s->size + size > s->text_capacity)
        s->text = grow(s, s->text, &s->text_capacity, s->size + size, 1);
    if (failed(s))
        return;
    memcpy(s->text + s->size, data, size);
    s->size += size;
}

void ecd_strings_add_char(ecd_strings *s, int32_t character)
{
    char bytes[4];
    ecd_strings_add(s, bytes, ecd_utf8_put(character, bytes));
}

void ecd_strings_end(ecd_strings *s)
{
    if (failed(s) || s->size == (s->count ? s->ends[s->count - 1] : 0))
        return;
    if (s->count == s->ends_capacity)
        s->ends = grow(s, s->ends, &s->ends_capacity, s->count + 1, sizeof *s->ends);
    if (!failed(s))
        s->ends[s->count++] = s->size;
}

ecd_status ecd_strings_check(const ecd_strings *s, ecd_diag *diag)
{
    if (s->no_memory)
        return ecd_fail_memory(diag, s->size, "the text's parts");
    if (s->too_long)
        return ecd_fail(diag, ECD_DATA, "the normalised text is longer than %d bytes", (int)ECD_STRINGS_MAX_BYTES);
    return ECD_OK;
}
