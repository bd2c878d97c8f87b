// Rules that give tensors other names, as tables hold them: old names of diffusers (names.c), names of other programs
// (component_names.c). Internal to weights/.
#ifndef ECD_WEIGHTS_RENAME_H
#define ECD_WEIGHTS_RENAME_H

#include <stdbool.h>
#include <stddef.h>

// In `from` a "#" stands for a number of up to 4 digits and a "*" for any text, none included (the shortest that makes
// the rest match). In `to` each mark, whichever it is, gives what its counterpart stood for; of a "~" the counterpart
// must be a number n, and it gives last - n: levels that are counted from the other end. Names are told apart whole.
//
// The new name with its NUL is written to out[room]. false: the name is not of this form, or too long.
bool ecd_rename(const char *from, const char *to, const char *name, long last, char *out, size_t room);

// The other way: from the new form to the old one, for messages.
bool ecd_rename_back(const char *from, const char *to, const char *name, long last, char *out, size_t room);

// The number that the first "#" of `from` stands for; -1 if the name is not of this form.
long ecd_rename_number(const char *from, const char *name);

#endif
