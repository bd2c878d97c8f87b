// Edits a config as text, so that taking the edit away gives back the very bytes.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"

static const char OWN_KEY[] = "\"quantization_config\"", KEPT_KEY[] = "\"source_quantization_config\"";
static const char MARK[] = "\n  \"quantization_config\": {\"quant_method\": \"ecf8\", \"version\": 1}";

static const char PUBLISHED_MARK[] =
    "\n  \"dfloat_config\": {\"version\": \"0.2.0\", \"threads_per_block\": 512, \"bytes_per_thread\": 8}";

// Where the root object's key stands, quotes included: nested objects may have the same. The text is valid JSON.
static const char *top_level_key(const char *text, const char *quoted)
{
    const size_t length = strlen(quoted);
    int depth = 0;
    for (const char *at = text; *at; at++) {
        if (*at == '"') {
            const char *end = at + 1;
            for (; *end != '"'; end++)
                end += *end == '\\';
            const char *next = end + 1 + strspn(end + 1, " \t\r\n");
            if (depth == 1 && *next == ':' && (size_t)(end + 1 - at) == length && !memcmp(at, quoted, length))
                return at;
            at = end;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    }
    return NULL;
}

// The text with its one `from` made `to`. NULL if it does not stand there exactly once, or when memory is out.
static char *replace_once(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *out = NULL;
    if (!at || strstr(at + 1, from))
        return NULL;
    return asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) < 0 ? NULL : out;
}

// The text with `mark` before its first key.
static ecd_status put_first(const char *text, const char *mark, bool more, char **out, ecd_diag *diag)
{
    const char *brace = strchr(text, '{') + 1;
    if (asprintf(out, "%.*s%s%s%s", (int)(brace - text), text, mark, more ? "," : "", brace) >= 0)
        return ECD_OK;
    *out = NULL;
    return ecd_fail_memory(diag, strlen(text) + strlen(mark), "a config");
}

ecd_status ecd_config_mark_published(const char *text, char **out, ecd_diag *diag)
{
    cJSON *root = NULL;
    *out = NULL;
    ecd_status status = ecd_json_parse(text, strlen(text), 0, &root, diag);
    if (!status && cJSON_GetObjectItemCaseSensitive(root, "dfloat_config"))
        status = ecd_fail(diag, ECD_USAGE, "the config says that the folder is compressed already");
    if (!status)
        status = put_first(text, PUBLISHED_MARK, root->child != NULL, out, diag);
    cJSON_Delete(root);
    return status;
}

ecd_status ecd_config_mark(const char *text, char **out, ecd_diag *diag)
{
    cJSON *root = NULL;
    char *renamed = NULL;
    *out = NULL;
    ecd_status status = ecd_json_parse(text, strlen(text), 0, &root, diag);
    if (status)
        return status;
    if (cJSON_GetObjectItemCaseSensitive(root, "source_quantization_config")) {
        status = ecd_fail(diag, ECD_USAGE, "the config says that the folder is compressed already");
        goto out;
    }
    if (strstr(text, KEPT_KEY)) { // as another's key or as a string: taking the mark away would change it
        status = ecd_fail(diag, ECD_DATA, "%s stands inside of it, expected it only where compressing writes it",
                          KEPT_KEY);
        goto out;
    }
    if (cJSON_GetObjectItemCaseSensitive(root, "quantization_config")) {
        const char *key = top_level_key(text, OWN_KEY);
        if (!key) { // spelt with escapes
            status = ecd_fail(diag, ECD_DATA, "no plain \"quantization_config\", expected the key without escapes");
            goto out;
        }
        if (asprintf(&renamed, "%.*s%s%s", (int)(key - text), text, KEPT_KEY, key + strlen(OWN_KEY)) < 0) {
            renamed = NULL;
            status = ecd_fail_memory(diag, strlen(text), "a config");
            goto out;
        }
        text = renamed;
    }
    status = put_first(text, MARK, root->child != NULL, out, diag);
out:
    cJSON_Delete(root);
    free(renamed);
    return status;
}

ecd_status ecd_config_unmark(const char *text, char **out, ecd_diag *diag)
{
    const char *mark = strstr(text, MARK), *published = strstr(text, PUBLISHED_MARK);
    *out = NULL;
    if (!mark && !published)
        return ECD_OK;
    const char *rest = mark ? mark + strlen(MARK) : published + strlen(PUBLISHED_MARK);
    if (*rest == ',')
        rest++;
    char *plain = NULL;
    if (asprintf(&plain, "%.*s%s", (int)((mark ? mark : published) - text), text, rest) < 0)
        return ecd_fail_memory(diag, strlen(text), "a config");
    *out = plain;
    char *renamed = mark ? replace_once(plain, KEPT_KEY, OWN_KEY) : NULL;
    if (renamed) {
        free(plain);
        *out = renamed;
    }
    return ECD_OK;
}
