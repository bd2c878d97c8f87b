// Patterns as tokenizer files hold them, which are Oniguruma's in its Ruby syntax, run by PCRE2.
#ifndef ECD_TEXT_REGEX_H
#define ECD_TEXT_REGEX_H

#include "base/status.h"

typedef struct ecd_regex ecd_regex;

// ECD_DATA for a pattern that does not compile, that is too long, that matches the empty text, or that uses what the
// two dialects read differently (\h, \w, \b, set operations inside a class). \s is translated: it is White_Space in
// the one, and a little more in the other.
ecd_status ecd_regex_new(const char *pattern, ecd_regex **out, ecd_diag *diag);
void ecd_regex_free(ecd_regex *regex); // NULL is allowed

// The first match in text[from, size): *begin < *end, or *found false. The text is valid UTF-8 and `from` lies
// between characters. ECD_DATA where the pattern backtracks beyond measure.
ecd_status ecd_regex_find(const ecd_regex *regex, const char *text, size_t size, size_t from, bool *found, size_t *begin,
                          size_t *end, ecd_diag *diag);

#endif
