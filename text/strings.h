// A growing list of byte strings that lie one after the other: what normalisers and pre-tokenizers hand on.
#ifndef ECD_TEXT_STRINGS_H
#define ECD_TEXT_STRINGS_H

#include "base/status.h"

// However a file's rules blow a text up, it ends here.
enum { ECD_TEXT_MAX_BYTES = 1 << 24, ECD_STRINGS_MAX_BYTES = 1 << 28 };

// A failure (memory, or more than ECD_STRINGS_MAX_BYTES) sticks: later calls do nothing, ecd_strings_check tells.
typedef struct ecd_strings {
    char *text;    // all strings; owned
    size_t size;   // bytes in text
    size_t *ends;  // where each string ends; owned
    size_t count;  // strings that are closed
    size_t text_capacity, ends_capacity;
    bool at_start; // the first string begins where the whole text does
    bool no_memory, too_long;
} ecd_strings;

void ecd_strings_free(ecd_strings *strings); // leaves it zeroed
void ecd_strings_clear(ecd_strings *strings);

// Adds bytes to the string that is open, and closes it. A string that is empty is not kept.
void ecd_strings_add(ecd_strings *strings, const char *data, size_t size);
void ecd_strings_add_char(ecd_strings *strings, int32_t character);
void ecd_strings_end(ecd_strings *strings);

ecd_status ecd_strings_check(const ecd_strings *strings, ecd_diag *diag);

static inline size_t ecd_strings_begin(const ecd_strings *strings, size_t index)
{
    return index ? strings->ends[index - 1] : 0;
}

#endif
