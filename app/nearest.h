// "Did you mean ...?": the known word nearest to a mistyped one.
#ifndef ECD_APP_NEAREST_H
#define ECD_APP_NEAREST_H

// The word of the NULL-terminated list that is fewest edits (insert, delete, replace, swap of neighbours) away from
// `text`; NULL when none is near enough to be meant (more than a third of its letters would change).
const char *ecd_nearest(const char *text, const char *const *words);

#endif
