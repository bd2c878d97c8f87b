#define _GNU_SOURCE
#include "weights/partial.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "weights/json.h"
#include "weights/tree.h"

static const char JOURNAL[] = ".ecdit-journal";
static const size_t JOURNAL_MAX_BYTES = 1 << 30;

static ecd_status refuse(const char *path, const char *what, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_USAGE, "%s", what);
    ecd_diag_file(diag, path);
    return ECD_USAGE;
}

static void free_all(ecd_partial *p)
{
    if (p->journal >= 0)
        close(p->journal);
    free(p->target);
    free(p->folder);
    free(p->journal_path);
    cJSON_Delete(p->entries);
    *p = (ecd_partial){.journal = -1};
}

static ecd_status set_paths(const char *target, ecd_partial *p, ecd_diag *diag)
{
    size_t length = strlen(target);
    while (length > 1 && target[length - 1] == '/')
        length--;
    p->target = strndup(target, length);
    if (p->target && asprintf(&p->folder, "%s.partial", p->target) < 0)
        p->folder = NULL;
    p->journal_path = p->folder ? ecd_path_join(p->folder, JOURNAL) : NULL;
    p->entries = p->journal_path ? cJSON_CreateArray() : NULL;
    return p->entries ? ECD_OK : ecd_fail_memory(diag, length, "a path");
}

static bool is_empty(const char *folder)
{
    ecd_tree tree;
    if (ecd_tree_list(folder, &tree, NULL))
        return false;
    bool empty = !tree.count;
    ecd_tree_free(&tree);
    return empty;
}

// Opens or creates the folder and its journal, and locks it.
static ecd_status open_journal(ecd_partial *p, ecd_diag *diag)
{
    if (mkdir(p->folder, 0777) && errno != EEXIST)
        return ecd_fail_errno(diag, p->target, "create");
    bool there = ecd_path_exists(p->journal_path);
    if (!there && !is_empty(p->folder))
        return refuse(p->folder, "stands in the way, and is no unfinished work of this program", diag);
    p->journal = open(p->journal_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (p->journal < 0)
        return ecd_fail_errno(diag, p->journal_path, "open");
    if (flock(p->journal, LOCK_EX | LOCK_NB)) {
        close(p->journal);
        p->journal = -1;
        return refuse(p->folder, "another process is working on it", diag);
    }
    return ECD_OK;
}

// Reads the lines; false where the first is not this work's. What follows the last whole line is cut off.
static ecd_status read_journal(ecd_partial *p, const char *identity, bool *ours, ecd_diag *diag)
{
    char *text = NULL;
    ecd_status status = ecd_file_read_text(p->journal_path, JOURNAL_MAX_BYTES, &text, NULL, diag);
    if (status)
        return status;
    size_t length = strlen(identity);
    char *at = text, *end;
    *ours = !strncmp(at, identity, length) && at[length] == '\n';
    for (at += *ours ? length + 1 : 0; *ours && (end = strchr(at, '\n')); at = end + 1) {
        cJSON *line = NULL;
        if (ecd_json_parse(at, (size_t)(end - at), 0, &line, NULL))
            break;
        cJSON_AddItemToArray(p->entries, line);
    }
    if (*ours && ftruncate(p->journal, at - text))
        status = ecd_fail_errno(diag, p->journal_path, "cut");
    free(text);
    return status;
}

const cJSON *ecd_partial_find(const ecd_partial *partial, const char *path)
{
    const cJSON *line, *found = NULL;
    cJSON_ArrayForEach(line, partial->entries)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(line, "path");
        if (cJSON_IsString(name) && !strcmp(name->valuestring, path))
            found = line; // the last one counts: a file may have been done again
    }
    return found;
}

// In memory; in the journal the file's new line will stand behind the old one, and count.
void ecd_partial_forget(ecd_partial *partial, const char *path)
{
    const cJSON *line;
    while ((line = ecd_partial_find(partial, path)) != NULL)
        cJSON_Delete(cJSON_DetachItemViaPointer(partial->entries, (cJSON *)(uintptr_t)line));
}

static bool is_named(const ecd_partial *p, const char *path)
{
    const cJSON *line;
    cJSON_ArrayForEach(line, p->entries)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(line, "out");
        if (cJSON_IsString(name) && !strcmp(name->valuestring, path))
            return true;
    }
    return false;
}

ecd_status ecd_partial_clean(const ecd_partial *partial, ecd_diag *diag)
{
    ecd_tree tree;
    ecd_status status = ecd_tree_list(partial->folder, &tree, diag);
    for (size_t i = tree.count; !status && i-- > 0;) {
        const ecd_tree_entry *entry = &tree.entries[i];
        if (entry->folder || !strcmp(entry->path, JOURNAL) || is_named(partial, entry->path))
            continue;
        char *path = ecd_path_join(partial->folder, entry->path);
        if (!path)
            status = ecd_fail_memory(diag, strlen(entry->path), "a path");
        else if (unlink(path))
            status = ecd_fail_errno(diag, path, "remove");
        free(path);
    }
    ecd_tree_free(&tree);
    return status;
}

static ecd_status append(ecd_partial *p, const char *text, ecd_diag *diag)
{
    size_t size = strlen(text);
    for (ssize_t done; size; text += done, size -= (size_t)done) {
        done = write(p->journal, text, size);
        if (done < 0 && errno == EINTR)
            done = 0;
        else if (done < 0)
            return ecd_fail_errno(diag, p->journal_path, "write");
    }
    return fsync(p->journal) ? ecd_fail_errno(diag, p->journal_path, "sync") : ECD_OK;
}

// Makes the names in a folder last.
static ecd_status sync_folder(const char *path, ecd_diag *diag)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ecd_fail_errno(diag, path, "open");
    ecd_status status = fsync(fd) && errno != EINVAL ? ecd_fail_errno(diag, path, "sync") : ECD_OK;
    close(fd);
    return status;
}

static ecd_status start_again(ecd_partial *p, const char *identity, ecd_diag *diag)
{
    struct stat info;
    if (fstat(p->journal, &info))
        return ecd_fail_errno(diag, p->journal_path, "look at");
    p->origin = info.st_size ? ECD_PARTIAL_RESTARTED : ECD_PARTIAL_NEW;
    ecd_status status = ftruncate(p->journal, 0) ? ecd_fail_errno(diag, p->journal_path, "empty") : ECD_OK;
    if (!status)
        status = ecd_partial_clean(p, diag);
    if (!status)
        status = append(p, identity, diag);
    return status ? status : append(p, "\n", diag);
}

// The target is there: was it renamed by a run that could not remove the journal any more?
static ecd_status look_at_target(ecd_partial *p, ecd_diag *diag)
{
    char *journal = ecd_path_join(p->target, JOURNAL);
    if (!journal)
        return ecd_fail_memory(diag, strlen(p->target), "a path");
    bool there = ecd_path_exists(journal);
    if (there && !unlink(journal))
        p->origin = ECD_PARTIAL_COMPLETE;
    free(journal);
    return p->origin == ECD_PARTIAL_COMPLETE ? ECD_OK
                                             : refuse(p->target, "exists already, expected a new name", diag);
}

ecd_status ecd_partial_begin(const char *target, const char *identity, ecd_partial *out, ecd_diag *diag)
{
    bool ours = false;
    *out = (ecd_partial){.journal = -1};
    ecd_status status = set_paths(target, out, diag);
    if (!status && ecd_path_exists(out->target)) {
        status = look_at_target(out, diag);
        if (status)
            free_all(out);
        return status;
    }
    if (!status)
        status = open_journal(out, diag);
    if (!status)
        status = read_journal(out, identity, &ours, diag);
    if (!status && !ours)
        status = start_again(out, identity, diag);
    else if (!status)
        out->origin = ECD_PARTIAL_CONTINUED;
    if (status && out->journal >= 0 && !ours)
        ecd_partial_end(out, false);
    else if (status)
        free_all(out);
    return status;
}

ecd_status ecd_partial_note(ecd_partial *partial, cJSON *line, ecd_diag *diag)
{
    char *text = cJSON_PrintUnformatted(line), *whole = NULL;
    cJSON_Delete(line);
    if (!text || asprintf(&whole, "%s\n", text) < 0) {
        cJSON_free(text);
        return ecd_fail_memory(diag, 1024, "a line of the journal");
    }
    cJSON_free(text);
    ecd_status status = sync_folder(partial->folder, diag);
    if (!status)
        status = append(partial, whole, diag);
    free(whole);
    return status;
}

static ecd_status sync_parent(const char *path, ecd_diag *diag)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    ecd_status status = parent ? sync_folder(parent, diag) : ecd_fail_memory(diag, strlen(path), "a path");
    free(parent);
    return status;
}

ecd_status ecd_partial_commit(ecd_partial *partial, const char *file, ecd_diag *diag)
{
    char *from = file ? ecd_path_join(partial->folder, file) : strdup(partial->folder);
    char *journal = ecd_path_join(file ? partial->folder : partial->target, JOURNAL);
    ecd_status status = from && journal ? ECD_OK : ecd_fail_memory(diag, strlen(partial->target), "a path");
    if (!status && ecd_path_exists(partial->target)) // rename would replace a file, or an empty folder
        status = refuse(partial->target, "exists by now, expected a new name", diag);
    if (!status && rename(from, partial->target))
        status = ecd_fail_errno(diag, partial->target, "rename into place");
    if (!status && unlink(journal))
        status = ecd_fail_errno(diag, journal, "remove");
    if (!status && file && rmdir(partial->folder))
        status = ecd_fail_errno(diag, partial->folder, "remove");
    if (!status)
        status = sync_parent(partial->target, diag);
    free(from);
    free(journal);
    free_all(partial);
    return status;
}

void ecd_partial_end(ecd_partial *partial, bool keep)
{
    if (partial->folder && partial->journal >= 0 && !(keep && partial->worth_keeping))
        ecd_folder_remove(partial->folder);
    free_all(partial);
}
