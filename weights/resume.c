// A finished file's line in the journal, and what a later run takes over by it.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/compress_internal.h"

enum { JOURNAL_AT_LEAST = 1 << 20 }; // bytes: smaller files are quicker copied again than synced one by one

bool ecd_job_journals(const ecd_job *job)
{
    return job->coded || job->entry->size_bytes >= JOURNAL_AT_LEAST;
}

static int64_t changed_ns(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

// A double does not hold a time in nanoseconds.
static bool add_time(cJSON *line, const char *key, int64_t ns)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ns);
    return cJSON_AddStringToObject(line, key, text);
}

static bool add_number(cJSON *line, const char *key, uint64_t value)
{
    return cJSON_AddNumberToObject(line, key, (double)value);
}

static bool add_counts(cJSON *line, const ecd_job *job)
{
    const ecd_work_tensors *t = &job->tensors;
    cJSON *counts = cJSON_AddArrayToObject(line, "tensors"), *scales = cJSON_AddArrayToObject(line, "scales");
    const uint64_t values[] = {t->all, t->coded, t->shared, t->quantized};
    bool ok = counts && scales;
    for (size_t i = 0; ok && i < 4 + ECD_WORK_MODES; i++)
        ok = cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)(i < 4 ? values[i] : t->by_mode[i - 4])));
    for (size_t i = 0; ok && i < job->scale_count; i++)
        ok = cJSON_AddItemToArray(scales, cJSON_CreateString(job->scales[i]));
    return ok;
}

ecd_status ecd_job_journal(ecd_job *job, ecd_diag *diag)
{
    struct stat info;
    if (stat(job->to, &info))
        return ecd_fail_errno(diag, job->to, "look at");
    cJSON *line = cJSON_CreateObject();
    const char *out = job->to + strlen(job->work->partial->folder) + 1;
    bool ok = line && cJSON_AddStringToObject(line, "path", job->entry->path) &&
              cJSON_AddStringToObject(line, "out", out) && cJSON_AddStringToObject(line, "sha256", job->sha256) &&
              add_number(line, "size", job->entry->size_bytes) && add_time(line, "changed", job->entry->changed_ns) &&
              add_number(line, "out_size", (uint64_t)info.st_size) && add_time(line, "out_changed", changed_ns(&info)) &&
              add_number(line, "stored", job->stored_bytes) && add_number(line, "plain", job->plain_bytes) &&
              cJSON_AddBoolToObject(line, "coded", job->coded) && add_counts(line, job);
    if (!ok) {
        cJSON_Delete(line);
        return ecd_fail_memory(diag, 1024, "a line of the journal");
    }
    return ecd_partial_note(job->work->partial, line, diag);
}

static uint64_t number_of(const cJSON *line, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(line, key);
    return cJSON_IsNumber(value) && value->valuedouble >= 0 ? (uint64_t)value->valuedouble : UINT64_MAX;
}

static const char *text_of(const cJSON *line, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(line, key);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static bool same_time(const cJSON *line, const char *key, int64_t ns)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ns);
    return !strcmp(text_of(line, key), text);
}

static void take_counts(ecd_job *job, const cJSON *line)
{
    ecd_work_tensors *t = &job->tensors;
    uint64_t *const values[] = {&t->all, &t->coded, &t->shared, &t->quantized};
    const cJSON *value;
    size_t i = 0;
    cJSON_ArrayForEach(value, cJSON_GetObjectItemCaseSensitive(line, "tensors"))
    {
        if (i < 4 + ECD_WORK_MODES && value->valuedouble >= 0)
            *(i < 4 ? values[i] : &t->by_mode[i - 4]) = (uint64_t)value->valuedouble;
        i++;
    }
}

static ecd_status take_scales(ecd_job *job, const cJSON *line, ecd_diag *diag)
{
    const cJSON *scale;
    ecd_status status = ECD_OK;
    cJSON_ArrayForEach(scale, cJSON_GetObjectItemCaseSensitive(line, "scales"))
        if (!status && cJSON_IsString(scale))
            status = ecd_job_note_scale(job, scale->valuestring, diag);
    return status;
}

// The source as it was, and the file as it was left: a tensor file's header and containers must still be sound.
static bool still_good(const ecd_job *job, const cJSON *line)
{
    struct stat info;
    if (number_of(line, "size") != job->entry->size_bytes || !same_time(line, "changed", job->entry->changed_ns) ||
        strcmp(text_of(line, "out"), job->to + strlen(job->work->partial->folder) + 1) || stat(job->to, &info) ||
        number_of(line, "out_size") != (uint64_t)info.st_size || !same_time(line, "out_changed", changed_ns(&info)))
        return false;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "coded")))
        return true;
    ecd_checkpoint *cp = NULL;
    bool good = !ecd_tensor_file_resolved(job->to, &cp, NULL);
    ecd_checkpoint_close(cp);
    return good;
}

ecd_status ecd_job_take_over(ecd_job *job, ecd_diag *diag)
{
    ecd_partial *partial = job->work->partial;
    const cJSON *line = ecd_partial_find(partial, job->entry->path);
    if (!line)
        return ECD_OK;
    if (!still_good(job, line)) {
        ecd_partial_forget(partial, job->entry->path);
        return ECD_OK;
    }
    job->taken_over = true;
    partial->worth_keeping = true;
    job->coded = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "coded"));
    snprintf(job->sha256, sizeof job->sha256, "%s", text_of(line, "sha256"));
    job->stored_bytes = number_of(line, "stored");
    job->plain_bytes = number_of(line, "plain");
    job->written_bytes = number_of(line, "out_size");
    take_counts(job, line);
    return take_scales(job, line, diag);
}
