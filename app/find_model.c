#define _GNU_SOURCE
#include "app/find_model.h"

#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEVELS_ABOVE = 4 }; // build/release/app/ecdit lies three folders below the source tree

// "a/b/name" if it holds a model, else NULL.
static char *model_at(const char *folder, const char *inside, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s%s", folder, inside, name) < 0)
        return NULL;
    char *index = ecd_path_join(path, "model_index.json");
    bool there = index && ecd_path_exists(index);
    free(index);
    if (there)
        return path;
    free(path);
    return NULL;
}

static char *in_environment(const char *name)
{
    const char *list = getenv("ECDIT_MODELS");
    char *found = NULL;
    while (list && *list && !found) {
        size_t length = strcspn(list, ":");
        char *folder = strndup(list, length);
        if (folder && *folder)
            found = model_at(folder, "", name);
        free(folder);
        list += length + (list[length] == ':');
    }
    return found;
}

static char *near_executable(const char *name)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = 0;
    for (int level = 0; level <= LEVELS_ABOVE; level++) {
        char *slash = strrchr(path, '/'), *found;
        if (!slash)
            break;
        *slash = 0;
        if ((found = model_at(path, "weights/", name)) || (found = model_at(path, "share/ecdit/", name)))
            return found;
    }
    return NULL;
}

ecd_status ecd_find_model(const char *name, char **out, ecd_diag *diag)
{
    const char *wanted = name ? name : ECD_DEFAULT_MODEL;
    char *found = NULL;
    bool bare = !strchr(wanted, '/') && strcmp(wanted, ".") && strcmp(wanted, "..");
    if (bare && !(name && ecd_path_is_folder(name)) && !(found = in_environment(wanted)))
        found = near_executable(wanted);
    if (!found && bare && !(name && ecd_path_exists(name)))
        return ecd_fail(diag, ECD_USAGE, "model %s: not a folder here, nor in $ECDIT_MODELS, nor beside the program",
                        wanted);
    *out = found ? found : strdup(wanted);
    return *out ? ECD_OK : ecd_fail_memory(diag, strlen(wanted) + 1, "a path");
}

char *ecd_model_name(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return strndup(path + start, end - start);
}
