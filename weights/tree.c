#define _GNU_SOURCE
#include "weights/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/grow.h"

enum { MAX_DEPTH = 32 };

bool ecd_ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

ecd_status ecd_tree_add(ecd_tree *tree, const ecd_tree_entry *entry, ecd_diag *diag)
{
    ecd_tree_entry *entries = ecd_grow(tree->entries, tree->count + 1, &tree->capacity, sizeof *entries);
    if (!entries) {
        free(entry->path);
        free(entry->from);
        return ecd_fail_memory(diag, (tree->count + 1) * sizeof *entries, "a list of files");
    }
    tree->entries = entries;
    tree->entries[tree->count++] = *entry;
    return ECD_OK;
}

// Takes over `path`.
static ecd_status add(ecd_tree *tree, char *path, const struct stat *info, ecd_diag *diag)
{
    const ecd_tree_entry entry = {.path = path,
                                  .folder = S_ISDIR(info->st_mode),
                                  .size_bytes = (uint64_t)info->st_size,
                                  .changed_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec};
    return ecd_tree_add(tree, &entry, diag);
}

static ecd_status list_folder(const char *root, const char *below, int depth, ecd_tree *tree, ecd_diag *diag);

static ecd_status list_entry(const char *root, const char *below, const char *name, int depth, ecd_tree *tree,
                             ecd_diag *diag)
{
    char *path = *below ? ecd_path_join(below, name) : strdup(name);
    char *full = path ? ecd_path_join(root, path) : NULL;
    struct stat info;
    ecd_status status = ECD_OK;
    if (!full)
        status = ecd_fail_memory(diag, strlen(name), "a path");
    else if (stat(full, &info))
        status = ecd_fail_errno(diag, full, "look at");
    if (!status && (S_ISDIR(info.st_mode) || S_ISREG(info.st_mode))) {
        status = add(tree, path, &info, diag); // the path is the tree's from here on
        path = NULL;
        if (!status && S_ISDIR(info.st_mode)) {
            char *inner = strdup(tree->entries[tree->count - 1].path); // entries move as the list grows
            status = inner ? list_folder(root, inner, depth + 1, tree, diag) : ecd_fail_memory(diag, 1, "a path");
            free(inner);
        }
    }
    free(path);
    free(full);
    return status;
}

static ecd_status list_folder(const char *root, const char *below, int depth, ecd_tree *tree, ecd_diag *diag)
{
    struct dirent **names = NULL;
    char *full = *below ? ecd_path_join(root, below) : strdup(root);
    ecd_status status = ECD_OK;
    int count = 0;
    if (!full)
        return ecd_fail_memory(diag, strlen(root), "a path");
    if (depth > MAX_DEPTH) {
        status = ecd_fail(diag, ECD_DATA, "folders nested more than %d deep", MAX_DEPTH);
        ecd_diag_file(diag, full);
        goto out;
    }
    count = scandir(full, &names, NULL, alphasort);
    if (count < 0) {
        status = ecd_fail_errno(diag, full, "list");
        goto out;
    }
    for (int i = 0; i < count && !status; i++)
        if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, ".."))
            status = list_entry(root, below, names[i]->d_name, depth, tree, diag);
out:
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(full);
    return status;
}

ecd_status ecd_tree_single(const char *path, char **root, ecd_tree *out, ecd_diag *diag)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    struct stat info;
    *out = (ecd_tree){0};
    *root = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    ecd_status status = name && *root ? ECD_OK : ecd_fail_memory(diag, strlen(path), "a path");
    if (!status && stat(path, &info))
        status = ecd_fail_errno(diag, path, "look at");
    if (!status) {
        status = add(out, name, &info, diag);
        name = NULL;
    }
    free(name);
    if (status) {
        ecd_tree_free(out);
        free(*root);
        *root = NULL;
    }
    return status;
}

ecd_status ecd_tree_list(const char *root, ecd_tree *out, ecd_diag *diag)
{
    *out = (ecd_tree){0};
    if (!ecd_path_is_folder(root)) {
        ecd_fail(diag, ECD_USAGE, ecd_path_exists(root) ? "not a folder" : "there is no such folder");
        ecd_diag_file(diag, root);
        return ECD_USAGE;
    }
    ecd_status status = list_folder(root, "", 0, out, diag);
    if (status)
        ecd_tree_free(out);
    return status;
}

void ecd_tree_free(ecd_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->entries[i].path);
        free(tree->entries[i].from);
    }
    free(tree->entries);
    *tree = (ecd_tree){0};
}

ecd_status ecd_new_folder_begin(const char *path, char **temporary, ecd_diag *diag)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    *temporary = NULL;
    if (ecd_path_exists(path)) {
        ecd_fail(diag, ECD_USAGE, "exists already, expected a name for a new folder");
        ecd_diag_file(diag, path);
        return ECD_USAGE;
    }
    char *name = NULL;
    if (asprintf(&name, "%.*s.part-XXXXXX", (int)length, path) < 0)
        return ecd_fail_memory(diag, length, "a path");
    if (!mkdtemp(name)) {
        ecd_status status = ecd_fail_errno(diag, path, "create");
        free(name);
        return status;
    }
    mode_t mask = umask(0);
    umask(mask);
    (void)chmod(name, 0777 & ~mask); // mkdtemp's 0700 would surprise whoever shares the folder
    *temporary = name;
    return ECD_OK;
}

ecd_status ecd_new_folder_commit(char *temporary, const char *path, ecd_diag *diag)
{
    if (rename(temporary, path)) {
        ecd_status status = ecd_fail_errno(diag, path, "rename into place");
        ecd_new_folder_abandon(temporary);
        return status;
    }
    free(temporary);
    return ECD_OK;
}

void ecd_folder_remove(const char *path)
{
    ecd_tree tree;
    if (!ecd_tree_list(path, &tree, NULL)) {
        for (size_t i = tree.count; i-- > 0;) {
            char *entry = ecd_path_join(path, tree.entries[i].path);
            if (entry)
                (void)remove(entry);
            free(entry);
        }
        ecd_tree_free(&tree);
    }
    (void)rmdir(path);
}

void ecd_new_folder_abandon(char *temporary)
{
    if (temporary)
        ecd_folder_remove(temporary);
    free(temporary);
}
