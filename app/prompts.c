#define _GNU_SOURCE
#include "app/prompts.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/grow.h"
#include "lib/image.h"
#include "weights/json.h"

static ecd_status check_keys(const cJSON *root, ecd_diag *diag)
{
    static const char *const known[] = {"prompt", "seed", "size", "steps", "guidance"};
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || !strcmp(known[i], item->string);
        if (!found)
            return ecd_fail(diag, ECD_USAGE, "key \"%.60s\" is not known, expected prompt, seed, size, steps or guidance",
                            item->string);
    }
    return ECD_OK;
}

// A number, or its digits as a text: doubles hold integers up to 2^53 alone.
static ecd_status read_seed(const cJSON *root, ecd_prompt *out, ecd_diag *diag)
{
    const cJSON *seed = cJSON_GetObjectItemCaseSensitive(root, "seed");
    int64_t number = 0;
    out->has_seed = seed && !cJSON_IsNull(seed);
    if (cJSON_IsString(seed))
        return ecd_parse_seed(seed->valuestring, &out->seed)
                   ? ECD_OK
                   : ecd_fail(diag, ECD_USAGE, "key \"seed\": expected the digits of a seed");
    ecd_status status = ecd_json_int(root, "seed", 0, 0, INT64_MAX, &number, diag);
    out->seed = (uint64_t)number;
    return status;
}

static ecd_status read_object(const cJSON *root, ecd_prompt *out, ecd_diag *diag)
{
    const char *prompt = NULL, *size = NULL;
    ecd_status status = check_keys(root, diag);
    if (!status)
        status = ecd_json_string(root, "prompt", NULL, &prompt, diag);
    if (!status && !prompt)
        status = ecd_fail(diag, ECD_USAGE, "expected a key \"prompt\"");
    if (!status)
        status = read_seed(root, out, diag);
    if (!status)
        status = ecd_json_string(root, "size", NULL, &size, diag);
    if (!status && size && !ecd_parse_size(size, 1, ECD_IMAGE_MAX_SIDE, &out->size))
        status = ecd_fail(diag, ECD_USAGE, "key \"size\": expected WIDTHxHEIGHT in pixels, each from 1 to %d",
                          ECD_IMAGE_MAX_SIDE);
    if (!status)
        status = ecd_json_int(root, "steps", 0, 1, ECD_PROMPTS_MAX_STEPS, &out->steps, diag);
    if (!status)
        status = ecd_json_number(root, "guidance", NAN, &out->guidance, diag);
    if (!status && !isnan(out->guidance) && !(out->guidance >= 0 && out->guidance <= 1000))
        status = ecd_fail(diag, ECD_USAGE, "key \"guidance\": expected a number from 0 to 1000");
    if (!status && !(out->text = strdup(prompt)))
        status = ecd_fail_memory(diag, strlen(prompt) + 1, "a prompt");
    return status;
}

// What is wrong with the line alone is kept in it.
static ecd_status read_line(const char *text, size_t size, ecd_prompt *out, ecd_diag *diag)
{
    cJSON *root = NULL;
    ecd_status status = ECD_OK;
    out->guidance = NAN;
    if (memchr(text, 0, size)) {
        ecd_fail(&out->diag, ECD_USAGE, "holds a NUL, expected text");
        return ECD_OK;
    }
    if (*text != '{') {
        out->text = strndup(text, size);
        return out->text ? ECD_OK : ecd_fail_memory(diag, size, "a prompt");
    }
    status = ecd_json_parse(text, size, 0, &root, &out->diag);
    if (!status)
        status = read_object(root, out, &out->diag);
    cJSON_Delete(root);
    if (status == ECD_RESOURCE) {
        *diag = out->diag;
        return status;
    }
    if (status) // what a line says wrongly was said by whoever called
        out->diag.status = ECD_USAGE;
    return ECD_OK;
}

ecd_status ecd_prompts_parse(const char *text, size_t size, ecd_prompts *out, ecd_diag *diag)
{
    static const char mark[] = "\xef\xbb\xbf"; // of UTF-8, as some editors write it
    ecd_status status = ECD_OK;
    const char *end = text + size;
    *out = (ecd_prompts){0};
    if (size >= 3 && !memcmp(text, mark, 3))
        text += 3;
    for (size_t line = 1; !status && text < end; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text)), *next = stop ? stop + 1 : end;
        size_t length = (size_t)((stop ? stop : end) - text);
        length -= length && text[length - 1] == '\r';
        if (length) {
            ecd_prompt *items = ecd_grow(out->items, out->count + 1, &out->capacity, sizeof *items);
            if (!items) {
                status = ecd_fail_memory(diag, (out->count + 1) * sizeof *items, "the prompts");
                break;
            }
            out->items = items;
            items[out->count] = (ecd_prompt){.line = line};
            status = read_line(text, length, &items[out->count++], diag);
        }
        text = next;
    }
    if (!status && !out->count)
        status = ecd_fail(diag, ECD_USAGE, "holds no prompt, expected one a line");
    if (status)
        ecd_prompts_free(out);
    return status;
}

ecd_status ecd_prompts_read(const char *path, ecd_prompts *out, ecd_diag *diag)
{
    char *text = NULL;
    size_t size = 0;
    *out = (ecd_prompts){0};
    ecd_status status = ecd_file_read_text(path, ECD_PROMPTS_MAX_BYTES, &text, &size, diag);
    if (!status)
        status = ecd_prompts_parse(text, size, out, diag);
    if (status)
        ecd_diag_file(diag, path);
    free(text);
    return status;
}

void ecd_prompts_free(ecd_prompts *prompts)
{
    for (size_t i = 0; i < prompts->count; i++)
        free(prompts->items[i].text);
    free(prompts->items);
    *prompts = (ecd_prompts){0};
}
