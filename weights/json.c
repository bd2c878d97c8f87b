#include "weights/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/json_scan.h"

// The keys of one object, sorted to find equal neighbours.
typedef struct key_place {
    const char *key;
    size_t order; // among all keys of the document
} key_place;

typedef struct tree_check {
    key_place *keys;  // one slot for each key of the document; an object uses those from its own first key on
    size_t order;     // keys passed
    size_t used;      // slots in use by the objects that are open
    size_t duplicate; // order of a duplicate key, SIZE_MAX if none
    const char *name; // and its name
} tree_check;

static int compare_keys(const void *a, const void *b)
{
    const key_place *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void note_duplicates(tree_check *check, size_t first)
{
    size_t count = check->used - first;
    if (count < 2)
        return;
    qsort(check->keys + first, count, sizeof *check->keys, compare_keys);
    for (size_t i = first + 1; i < check->used; i++) {
        const key_place *key = &check->keys[i];
        if (!strcmp(key[-1].key, key->key) && key->order < check->duplicate) {
            check->duplicate = key->order;
            check->name = key->key;
        }
    }
}

// Turns the stand-ins for NaN into numbers, and notes the first duplicate key. Nesting is bounded by the scan.
static void check_tree(tree_check *check, cJSON *node)
{
    if (cJSON_IsString(node) && (unsigned char)node->valuestring[0] == 0xff) {
        cJSON_free(node->valuestring);
        node->valuestring = NULL;
        node->type = cJSON_Number | (node->type & ~0xff);
        node->valuedouble = (double)NAN;
        return;
    }
    size_t first = check->used;
    for (cJSON *child = node->child; child; child = child->next) {
        // The children's own keys go behind this object's, which must stay together: so note all of these first.
        if (cJSON_IsObject(node))
            check->keys[check->used++] = (key_place){.key = child->string};
    }
    size_t slot = first;
    for (cJSON *child = node->child; child; child = child->next) {
        if (cJSON_IsObject(node))
            check->keys[slot++].order = check->order++;
        check_tree(check, child);
    }
    if (cJSON_IsObject(node))
        note_duplicates(check, first);
    check->used = first;
}

static ecd_status fail_duplicate(ecd_json_scan scan, const tree_check *check, ecd_diag *diag)
{
    ecd_json_scan again = {
        .text = scan.text, .size = scan.size, .base_offset = scan.base_offset, .wanted_key = check->duplicate};
    ecd_json_scan_run(&again, NULL);
    ecd_status status =
        ecd_fail(diag, ECD_DATA, "bad JSON: key \"%.200s\" twice, expected it once in an object", check->name);
    ecd_diag_offset(diag, scan.base_offset + again.key_at);
    return status;
}

static ecd_status parse_scanned(const ecd_json_scan *scan, cJSON **out, ecd_diag *diag)
{
    tree_check check = {.duplicate = SIZE_MAX};
    ecd_status status = ECD_OK;
    cJSON *root = cJSON_ParseWithLength(scan->rewrite ? scan->rewrite : scan->text, scan->size);
    if (!root) { // the scan accepts nothing that cJSON does not, so memory is what is left
        status = ecd_fail_memory(diag, scan->size, "a JSON document");
        goto out;
    }
    check.keys = malloc((scan->keys + 1) * sizeof *check.keys);
    if (!check.keys) {
        status = ecd_fail_memory(diag, (scan->keys + 1) * sizeof *check.keys, "the keys of a JSON document");
        goto out;
    }
    check_tree(&check, root);
    if (check.duplicate != SIZE_MAX) {
        status = fail_duplicate(*scan, &check, diag);
        goto out;
    }
    *out = root;
    root = NULL;
out:
    free(check.keys);
    cJSON_Delete(root);
    return status;
}

ecd_status ecd_json_parse(const char *text, size_t size, uint64_t base_offset, cJSON **out, ecd_diag *diag)
{
    *out = NULL;
    if (size > ECD_JSON_MAX_BYTES)
        return ecd_fail(diag, ECD_DATA, "JSON of %zu bytes, expected at most %d", size, ECD_JSON_MAX_BYTES);
    ecd_json_scan scan = {.text = text, .size = size, .base_offset = base_offset, .wanted_key = SIZE_MAX};
    ecd_status status = ecd_json_scan_run(&scan, diag);
    if (status)
        return status;
    if (scan.constants) {
        ecd_json_scan second = {.text = text, .size = size, .base_offset = base_offset, .wanted_key = SIZE_MAX};
        second.rewrite = malloc(size);
        if (!second.rewrite)
            return ecd_fail_memory(diag, size, "a copy of a JSON document");
        memcpy(second.rewrite, text, size);
        ecd_json_scan_run(&second, NULL);
        scan = second;
    }
    status = parse_scanned(&scan, out, diag);
    free(scan.rewrite);
    return status;
}

ecd_status ecd_json_read(const char *path, cJSON **out, ecd_diag *diag)
{
    ecd_file file;
    *out = NULL;
    ecd_status status = ecd_file_map(path, &file, diag);
    if (!status)
        status = ecd_json_parse((const char *)file.data, file.size_bytes, 0, out, diag);
    if (status)
        ecd_diag_file(diag, path);
    ecd_file_unmap(&file);
    return status;
}

// The value of a key, NULL if it is missing or null.
static const cJSON *value_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

static const char *kind_of(const cJSON *value)
{
    switch (value->type & 0xff) {
    case cJSON_False:
    case cJSON_True: return "a boolean";
    case cJSON_Number: return "a number";
    case cJSON_String: return "a string";
    case cJSON_Array: return "a list";
    case cJSON_Object: return "an object";
    default: return "null";
    }
}

static ecd_status fail_kind(const cJSON *value, const char *key, const char *expected, ecd_diag *diag)
{
    return ecd_fail(diag, ECD_DATA, "key \"%.100s\" is %s, expected %s", key, kind_of(value), expected);
}

ecd_status ecd_json_int(const cJSON *object, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                        ecd_diag *diag)
{
    const cJSON *value = value_of(object, key);
    *out = fallback;
    if (!value)
        return ECD_OK;
    if (!cJSON_IsNumber(value))
        return fail_kind(value, key, "an integer", diag);
    // Doubles hold integers exactly up to 2^53; larger ones would be read as their neighbours.
    double number = value->valuedouble;
    if (!(fabs(number) < 9007199254740992.0) || number != floor(number) || number < (double)min || number > (double)max)
        return ecd_fail(diag, ECD_DATA, "key \"%.100s\" is %.17g, expected an integer from %lld to %lld", key, number,
                        (long long)min, (long long)max);
    *out = (int64_t)number;
    return ECD_OK;
}

ecd_status ecd_json_number(const cJSON *object, const char *key, double fallback, double *out, ecd_diag *diag)
{
    const cJSON *value = value_of(object, key);
    *out = fallback;
    if (!value)
        return ECD_OK;
    if (!cJSON_IsNumber(value))
        return fail_kind(value, key, "a number", diag);
    *out = value->valuedouble;
    return ECD_OK;
}

ecd_status ecd_json_bool(const cJSON *object, const char *key, bool fallback, bool *out, ecd_diag *diag)
{
    const cJSON *value = value_of(object, key);
    *out = fallback;
    if (!value)
        return ECD_OK;
    if (!cJSON_IsBool(value))
        return fail_kind(value, key, "true or false", diag);
    *out = cJSON_IsTrue(value);
    return ECD_OK;
}

ecd_status ecd_json_string(const cJSON *object, const char *key, const char *fallback, const char **out, ecd_diag *diag)
{
    const cJSON *value = value_of(object, key);
    *out = fallback;
    if (!value)
        return ECD_OK;
    if (!cJSON_IsString(value))
        return fail_kind(value, key, "a string", diag);
    *out = value->valuestring;
    return ECD_OK;
}
