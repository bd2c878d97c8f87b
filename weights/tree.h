// The files of a folder, and new folders that appear whole or not at all.
#ifndef ECD_WEIGHTS_TREE_H
#define ECD_WEIGHTS_TREE_H

#include "base/status.h"

typedef struct ecd_tree_entry {
    char *path; // relative to the root, "transformer/config.json"
    bool folder;
    uint64_t size_bytes;
    int64_t changed_ns; // mtime
    const char *part;   // of a component that lies in a single file (parts.c): which; NULL: a file of its own
    char *from;         // that single file; NULL: the file itself
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
// Appends an entry; takes over its strings.
ecd_status ecd_tree_add(ecd_tree *tree, const ecd_tree_entry *entry, ecd_diag *diag);

// parts.c. What a single file of other programs (weights/component.h) becomes as a diffusers folder: the files of the folder
// `config`, with the file's components, "transformer/diffusion_pytorch_model.safetensors", in the place of that folder's. What
// the file lacks is the folder's, or a file's beside it. Without `config`: the components alone, under their folders' names.
ecd_status ecd_tree_parts(const char *file, const char *config, ecd_tree *out, ecd_diag *diag);

// A folder in the making: "<path>.part-XXXXXX", beside its final place. Exactly one of commit and abandon ends it.
// ECD_USAGE if `path` exists. (For one that a later run can go on with: partial.h.)
ecd_status ecd_new_folder_begin(const char *path, char **temporary, ecd_diag *diag);
ecd_status ecd_new_folder_commit(char *temporary, const char *path, ecd_diag *diag); // frees `temporary`
void ecd_new_folder_abandon(char *temporary);                                        // removes and frees it

void ecd_folder_remove(const char *path); // with all that it holds; what cannot be removed stays

// Does `text` end with `end`?
bool ecd_ends_with(const char *text, const char *end);

#endif
