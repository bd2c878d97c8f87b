// What compress and decompress have around their work: the source, the target in the making, the journal.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/compress_internal.h"

// One line: another source or other options make other bytes.
static char *identity_of(const char *what, const char *source, const ecd_compress_options *options)
{
    char *real = realpath(source, NULL), *text = NULL;
    cJSON *line = cJSON_CreateObject();
    bool ok = real && line && cJSON_AddStringToObject(line, "ecdit", what) &&
              cJSON_AddStringToObject(line, "source", real) && cJSON_AddNumberToObject(line, "level", options->level) &&
              cJSON_AddBoolToObject(line, "quantize_e4m3", options->quantize_e4m3) &&
              cJSON_AddBoolToObject(line, "published", options->published) &&
              (!options->config || cJSON_AddStringToObject(line, "config", options->config));
    if (ok)
        text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    free(real);
    return text;
}

static void give_notice(const ecd_run *run)
{
    const ecd_compress_options *options = run->work.options;
    const ecd_partial *partial = &run->partial;
    char text[ECD_DIAG_NAME + 128];
    if (!options->notice || partial->origin == ECD_PARTIAL_NEW)
        return;
    snprintf(text, sizeof text, "%.*s: %s", ECD_DIAG_NAME, run->complete ? partial->target : partial->folder,
             run->complete                                ? "was complete already"
             : partial->origin == ECD_PARTIAL_CONTINUED   ? "going on after an earlier run"
                                                          : "held work of another source or other options, starting again");
    options->notice(options->opaque, text);
}

ecd_status ecd_run_begin(ecd_run *run, const char *what, const char *source, const char *target,
                         const ecd_compress_options *options, ecd_work_report *report, ecd_diag *diag)
{
    char *identity = NULL;
    *report = (ecd_work_report){0};
    *run = (ecd_run){.root = options->config ? options->config : source,
                     .single = !options->config && ecd_path_exists(source) && !ecd_path_is_folder(source)};
    run->partial.journal = -1;
    ecd_status status = options->config ? ecd_tree_parts(source, options->config, &run->tree, diag)
                        : run->single   ? ecd_tree_single(source, &run->folder, &run->tree, diag)
                                        : ecd_tree_list(source, &run->tree, diag);
    if (status)
        return status;
    if (run->single)
        run->root = run->folder;
    status = ecd_work_begin(&run->work, options, report, &run->tree, diag);
    if (!status && !(identity = identity_of(what, source, options)))
        status = ecd_fail_memory(diag, strlen(source), "a path");
    if (!status)
        status = ecd_partial_begin(target, identity, &run->partial, diag);
    cJSON_free(identity);
    if (status)
        return status;
    run->work.partial = &run->partial;
    run->complete = run->partial.origin == ECD_PARTIAL_COMPLETE;
    give_notice(run);
    return ECD_OK;
}

ecd_status ecd_run_folder(const ecd_run *run, const ecd_tree_entry *entry, ecd_diag *diag)
{
    char *path = ecd_path_join(run->partial.folder, entry->path);
    ecd_status status = path ? ECD_OK : ecd_fail_memory(diag, 1024, "a path");
    if (!status && mkdir(path, 0777) && errno != EEXIST) // an earlier run may have made it
        status = ecd_fail_errno(diag, path, "create");
    free(path);
    return status;
}

ecd_status ecd_run_commit(ecd_run *run, ecd_diag *diag)
{
    return ecd_partial_commit(&run->partial, run->single ? run->tree.entries[0].path : NULL, diag);
}

void ecd_run_end(ecd_run *run, ecd_status status)
{
    ecd_partial_end(&run->partial, status == ECD_INTERRUPTED || status == ECD_RESOURCE);
    ecd_work_end(&run->work);
    ecd_tree_free(&run->tree);
    free(run->folder);
}
