// JSON as Hugging Face writes it: cJSON, plus Python's bare NaN, Infinity and -Infinity, plus limits.
#ifndef ECD_WEIGHTS_JSON_H
#define ECD_WEIGHTS_JSON_H

#include "base/status.h"

typedef struct cJSON cJSON;

enum { ECD_JSON_MAX_BYTES = 1 << 28 };

// Parses `size` bytes of text whose root must be an object. Nesting is limited to 256 levels, strings must be UTF-8,
// duplicate keys are refused. A fault gives ECD_DATA with its byte offset (base_offset added). Free with cJSON_Delete.
ecd_status ecd_json_parse(const char *text, size_t size, uint64_t base_offset, cJSON **out, ecd_diag *diag);

// A file's root object; size limited to ECD_JSON_MAX_BYTES.
ecd_status ecd_json_read(const char *path, cJSON **out, ecd_diag *diag);

// Config values. A key that is missing or null gives the default of its class. One of the wrong type, or out of
// [min, max], gives ECD_DATA naming the key and what was expected.
ecd_status ecd_json_int(const cJSON *object, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                        ecd_diag *diag);
ecd_status ecd_json_number(const cJSON *object, const char *key, double fallback, double *out, ecd_diag *diag);
ecd_status ecd_json_bool(const cJSON *object, const char *key, bool fallback, bool *out, ecd_diag *diag);
// A borrowed string (or the fallback) that lives as long as the object.
ecd_status ecd_json_string(const cJSON *object, const char *key, const char *fallback, const char **out, ecd_diag *diag);

#endif
