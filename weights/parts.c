// A single file of other programs as the diffusers folder that it stands for.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/component.h"
#include "weights/component_names.h"
#include "weights/compress_internal.h"

typedef struct parts {
    const char *file, *config; // config NULL: the components alone
    ecd_tree *tree;
    ecd_diag *diag;
} parts;

static bool is_weights(const char *name)
{
    return ecd_ends_with(name, ".safetensors") || ecd_ends_with(name, ".bin") || ecd_ends_with(name, ".index.json") ||
           ecd_torch_named(name);
}

// Weights of the folder that the file's come in place of, and single files beside the components.
static void leave_out(ecd_tree *tree, const char *component)
{
    size_t kept = 0, length = component ? strlen(component) : 0;
    for (size_t i = 0; i < tree->count; i++) {
        ecd_tree_entry *entry = &tree->entries[i];
        bool inside = component ? !strncmp(entry->path, component, length) && entry->path[length] == '/' &&
                                      !strchr(entry->path + length + 1, '/')
                                : !strchr(entry->path, '/');
        if (inside && !entry->folder && !entry->part && is_weights(entry->path))
            free(entry->path);
        else
            tree->entries[kept++] = *entry;
    }
    tree->count = kept;
}

static ecd_status check_config(const parts *p, const char *from, const char *component)
{
    char *path = NULL;
    if (!p->config)
        return ECD_OK;
    if (asprintf(&path, "%s/%s/config.json", p->config, component) < 0)
        return ecd_fail_memory(p->diag, strlen(p->config), "a path");
    ecd_status status = ECD_OK;
    if (!ecd_path_exists(path)) {
        status = ecd_fail(p->diag, ECD_USAGE, "is not there, expected it as %s holds a %s", from, component);
        ecd_diag_file(p->diag, path);
    }
    free(path);
    return status;
}

static ecd_status add(const parts *p, const ecd_component_names *names, const char *from, const ecd_checkpoint *cp)
{
    struct stat info;
    ecd_status status = check_config(p, from, names->component);
    if (status)
        return status;
    if (stat(from, &info))
        return ecd_fail_errno(p->diag, from, "look at");
    ecd_tree_entry entry = {.part = names->component,
                            .from = strdup(from),
                            .changed_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
    if (asprintf(&entry.path, "%s%s%s", names->component, p->config ? "/" : "", p->config ? names->weights : "") < 0)
        entry.path = NULL;
    for (size_t i = 0; i < ecd_checkpoint_count(cp); i++)
        entry.size_bytes += ecd_tensor_stored_bytes(ecd_checkpoint_tensor(cp, i));
    if (entry.path && entry.from)
        return ecd_tree_add(p->tree, &entry, p->diag);
    free(entry.path);
    free(entry.from);
    return ecd_fail_memory(p->diag, strlen(from), "a path");
}

// A file that holds the component alone, where neither the single file nor the folder has it.
static ecd_status open_beside(const parts *p, const char *component, char **from, ecd_checkpoint **cp)
{
    char *folder = p->config ? ecd_path_join(p->config, component) : NULL;
    *from = folder && ecd_path_is_folder(folder) && !ecd_checkpoint_is_in(folder)
                ? ecd_component_beside(p->file, component)
                : NULL;
    free(folder);
    return *from ? ecd_component_open(*from, component, cp, p->diag) : ECD_OK;
}

static ecd_status add_component(const parts *p, const ecd_component_names *names)
{
    ecd_checkpoint *cp = NULL;
    char *beside = NULL;
    ecd_status status = ecd_component_open(p->file, names->component, &cp, p->diag);
    if (!status && !cp)
        status = open_beside(p, names->component, &beside, &cp);
    if (!status && cp) {
        leave_out(p->tree, names->component);
        status = add(p, names, beside ? beside : p->file, cp);
    }
    ecd_checkpoint_close(cp);
    free(beside);
    return status;
}

ecd_status ecd_tree_parts(const char *file, const char *config, ecd_tree *out, ecd_diag *diag)
{
    const parts p = {.file = file, .config = config, .tree = out, .diag = diag};
    ecd_status status = ECD_OK;
    *out = (ecd_tree){0};
    if (!ecd_component_is_file(file)) {
        (void)ecd_fail(diag, ECD_USAGE, "%s, expected a single .safetensors file",
                       ecd_path_exists(file) ? "no file of tensors" : "no such file");
        ecd_diag_file(diag, file);
        return ECD_USAGE;
    }
    if (config)
        status = ecd_tree_list(config, out, diag);
    leave_out(out, NULL);
    for (int i = 0; !status && i < ECD_COMPONENTS; i++)
        status = add_component(&p, &ecd_component_table[i]);
    bool any = false;
    for (size_t i = 0; i < out->count; i++)
        any |= out->entries[i].part != NULL;
    if (!status && !any) {
        status = ecd_fail(diag, ECD_DATA, "holds no component of a model under names that are known");
        ecd_diag_file(diag, file);
    }
    if (status)
        ecd_tree_free(out);
    return status;
}

ecd_status ecd_job_open_part(const ecd_job *job, const char *path, ecd_checkpoint **out, ecd_diag *diag)
{
    ecd_status status = ecd_component_open(path, job->part, out, diag);
    if (status || *out)
        return status;
    status = ecd_fail(diag, ECD_DATA, "holds no %s any more", job->part); // it did when the work was planned
    ecd_diag_file(diag, path);
    return status;
}
