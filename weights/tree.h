// The files of a folder, and new folders that appear whole or not at all.
#ifndef ECD_WEIGHTS_TREE_H
#define ECD_WEIGHTS_TREE_H

#include "base/status.h"

typedef struct ecd_tree_entry {
    char *path; // relative to the root, "transformer/config.json"
    bool folder;
    uint64_t size_bytes;
    int64_t changed_ns; // mtime
} ecd_tree_entry;

typedef struct ecd_tree {
    ecd_tree_entry *entries; // folders before what they hold, in order of names
    size_t count, capacity;
} ecd_tree;

// Everything below `root`; links are followed, at most 32 folders deep. ECD_USAGE if it is not a folder.
ecd_status ecd_tree_list(const char *root, ecd_tree *out, ecd_diag *diag);
// The same of a single file: *root, which the caller frees, is its folder.
ecd_status ecd_tree_single(const char *path, char **root, ecd_tree *out, ecd_diag *diag);
void ecd_tree_free(ecd_tree *tree);

// A folder in the making: "<path>.part-XXXXXX", beside its final place. Exactly one of commit and abandon ends it.
// ECD_USAGE if `path` exists. (For one that a later run can go on with: partial.h.)
ecd_status ecd_new_folder_begin(const char *path, char **temporary, ecd_diag *diag);
ecd_status ecd_new_folder_commit(char *temporary, const char *path, ecd_diag *diag); // frees `temporary`
void ecd_new_folder_abandon(char *temporary);                                        // removes and frees it

void ecd_folder_remove(const char *path); // with all that it holds; what cannot be removed stays

// Does `text` end with `end`?
bool ecd_ends_with(const char *text, const char *end);

#endif
