// Target: JSON text as configs and indexes hold it. What is accepted is then marked as compressed and unmarked again,
// which must give back the very text.
#include "fuzz.h"

#include <cjson/cJSON.h>

#include "weights/compress_internal.h"
#include "weights/json.h"

typedef ecd_status (*unmarker)(const char *text, char **out, ecd_diag *diag);

static void check_round_trip(const char *text, char *marked, unmarker unmark)
{
    ecd_diag diag = {0};
    cJSON *root = NULL;
    char *back = NULL;
    FUZZ_REQUIRE(!ecd_json_parse(marked, strlen(marked), 0, &root, &diag));
    FUZZ_REQUIRE(!unmark(marked, &back, &diag) && back && !strcmp(back, text));
    cJSON_Delete(root);
    free(back);
    free(marked);
}

static void mark(const char *text)
{
    static const ecd_index_change change = {.stored_bytes = 123, .plain_bytes = 456};
    ecd_diag diag = {0};
    char *marked = NULL;
    if (!ecd_config_mark(text, &marked, &diag))
        check_round_trip(text, marked, ecd_config_unmark);
    marked = NULL;
    if (!ecd_index_mark(text, &change, &marked, &diag)) {
        if (strcmp(marked, text) != 0)
            check_round_trip(text, marked, ecd_index_unmark);
        else
            free(marked);
    }
    char *back = NULL;
    if (!ecd_config_unmark(text, &back, &diag))
        free(back);
    back = NULL;
    if (!ecd_index_unmark(text, &back, &diag))
        free(back);
    free(ecd_index_renamed(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    ecd_diag diag = {0};
    cJSON *root = NULL;
    ecd_status status = ecd_json_parse((const char *)input, size, 0, &root, &diag);
    FUZZ_REQUIRE(!status == (root != NULL));
    if (status) {
        FUZZ_REQUIRE(status == ECD_DATA && diag.has_offset && diag.offset_bytes <= size);
        return 0;
    }
    const cJSON *entry;
    cJSON_ArrayForEach(entry, root)
    {
        int64_t whole;
        double number;
        bool flag;
        const char *string;
        ecd_json_int(root, entry->string, 0, -5, 1 << 20, &whole, &diag);
        ecd_json_number(root, entry->string, 0, &number, &diag);
        ecd_json_bool(root, entry->string, false, &flag, &diag);
        ecd_json_string(root, entry->string, "", &string, &diag);
    }
    cJSON_Delete(root);
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text);
    memcpy(text, input, size);
    text[size] = 0;
    mark(text);
    free(text);
    return 0;
}
