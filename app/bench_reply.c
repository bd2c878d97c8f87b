#include "app/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const cJSON *root, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, key));
    return text ? text : "";
}

static bool number_of(const cJSON *root, const char *key, double max, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= max))
        return false;
    *out = item->valuedouble;
    return true;
}

static ecd_status fail_reply(ecd_bench_path path, int64_t batch, const char *what, ecd_diag *diag)
{
    return ecd_fail(diag, ECD_RESOURCE, "measuring %s, batch %" PRId64 ": %s", ecd_bench_path_names[path], batch, what);
}

static ecd_status take_diagnosis(const cJSON *root, ecd_status status, ecd_diag *diag)
{
    double offset;
    ecd_fail(diag, status, "%s", text_of(root, "what"));
    if (*text_of(root, "file"))
        ecd_diag_file(diag, text_of(root, "file"));
    if (*text_of(root, "tensor"))
        ecd_diag_tensor(diag, text_of(root, "tensor"));
    if (number_of(root, "offset", 0x1p53, &offset))
        ecd_diag_offset(diag, (uint64_t)offset);
    return status;
}

static ecd_status check_hash(ecd_bench *b, int64_t index, ecd_bench_path path, int64_t batch, const char *sha256,
                             ecd_diag *diag)
{
    ecd_bench_hash *known = &b->hashes[index];
    ecd_picture_request request = ecd_bench_request(index, b->classes);
    char subject[40] = "";
    if (b->classes)
        snprintf(subject, sizeof subject, "class %" PRId64 ", ", request.class_id);
    if (!ecd_sha256_is(sha256))
        return fail_reply(path, batch, "expected a sha256 a picture", diag);
    if (!known->sha256[0]) {
        snprintf(known->sha256, sizeof known->sha256, "%s", sha256);
        known->path = path;
        known->batch = batch;
    }
    if (strcmp(known->sha256, sha256))
        return ecd_fail(diag, ECD_DATA,
                        "%sseed %" PRIu64 ": %s in a batch of %" PRId64
                        " drew sha256 %s, %s in a batch of %" PRId64 " drew %s, expected the same picture",
                        subject, request.seed, ecd_bench_path_names[path], batch, sha256,
                        ecd_bench_path_names[known->path], known->batch, known->sha256);
    return ECD_OK;
}

static ecd_status take_hashes(ecd_bench *b, const cJSON *root, ecd_bench_path path, int64_t batch, ecd_diag *diag)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "sha256"), *item;
    ecd_status status = ECD_OK;
    int64_t index = 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != batch || batch > ECD_BENCH_MAX_BATCH)
        return fail_reply(path, batch, "expected a sha256 a picture", diag);
    cJSON_ArrayForEach(item, list)
    {
        const char *text = cJSON_GetStringValue(item);
        if (!status)
            status = check_hash(b, index++, path, batch, text ? text : "", diag);
    }
    return status;
}

static ecd_status take_context(ecd_bench *b, const cJSON *root, ecd_bench_path path, int64_t batch, ecd_diag *diag)
{
    ecd_bench_context *context = &b->context;
    double threads, width, height;
    if (!number_of(root, "threads", 1024, &threads) || !number_of(root, "width", 0x1p31, &width) ||
        !number_of(root, "height", 0x1p31, &height))
        return fail_reply(path, batch, "expected threads, width and height", diag);
    *context = (ecd_bench_context){.threads = (int)threads, .width = (int64_t)width, .height = (int64_t)height};
    snprintf(context->backend, sizeof context->backend, "%s", text_of(root, "backend"));
    snprintf(context->detail, sizeof context->detail, "%s", text_of(root, "detail"));
    snprintf(context->compute, sizeof context->compute, "%s", text_of(root, "compute"));
    return ECD_OK;
}

ecd_status ecd_bench_read_reply(ecd_bench *b, ecd_bench_path path, int64_t batch, const char *text,
                                ecd_bench_sample *out, ecd_diag *diag)
{
    cJSON *root = cJSON_Parse(text);
    double code = 0;
    ecd_status status = ECD_OK;
    if (!number_of(root, "status", ECD_INTERRUPTED, &code)) {
        status = fail_reply(path, batch, "expected one line of JSON", diag);
        goto out;
    }
    out->least_bytes = 0;
    if (code > 0) {
        if (!number_of(root, "least_bytes", 0x1p53, &out->least_bytes))
            out->least_bytes = 0;
        status = take_diagnosis(root, (ecd_status)code, diag);
        goto out;
    }
    for (int i = 0; i < ECD_BENCH_FIGURES; i++) {
        if (!number_of(root, ecd_bench_figures[i].key, 0x1p53, &out->values[i])) {
            status = fail_reply(path, batch, ecd_bench_figures[i].key, diag);
            goto out;
        }
    }
    snprintf(out->plan, sizeof out->plan, "%s", text_of(root, "plan"));
    status = take_context(b, root, path, batch, diag);
    if (!status)
        status = take_hashes(b, root, path, batch, diag);
out:
    cJSON_Delete(root);
    return status;
}
