// Target: a tokenizer's files. The first byte says which: J a tokenizer.json; S a spiece.model; M a vocab.json, a NUL,
// and a merges.txt; C a tokenizer_config.json, a NUL, and a tokenizer.json. What is accepted is used: every id that comes
// out must be one of the vocabulary.
#include "fuzz.h"

#include <cjson/cJSON.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

static const char *const texts[] = {
    "", " ", "a photo of  a cat, 4k!", "it's THE</s><pad> <|endoftext|>x", "e\xcc\x81\xef\xac\x81\xe2\x85\xa7 \xef\xbc\xa1\xc2\xa0",
    "\xe2\x96\x81\xe6\x9d\xb1\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7\xed\x95\x9c\xd7\x90\n\t\xe3\x80\x80", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
};

static void check_fault(ecd_status status, const ecd_diag *diag)
{
    char line[4096];
    if (!status)
        return;
    FUZZ_REQUIRE((status == ECD_DATA || status == ECD_RESOURCE || status == ECD_USAGE) && diag->status == status);
    FUZZ_REQUIRE(diag->what[0] && ecd_diag_format(diag, line, sizeof line) > 0 && !strchr(line, '\n'));
}

static ecd_status parse(const char *text, size_t size, cJSON **root, ecd_diag *diag)
{
    return ecd_json_parse(text, size, 0, root, diag);
}

static ecd_status read_two(const char *first, size_t first_size, const char *second, size_t second_size, bool config,
                           ecd_tokenizer *t, ecd_diag *diag)
{
    cJSON *root = NULL, *other = NULL;
    ecd_status status = parse(first, first_size, &root, diag);
    if (!status && !config)
        status = ecd_tokenizer_read_merges(root, second, second_size, t, diag);
    if (!status && config && !(status = parse(second, second_size, &other, diag)) &&
        !(status = ecd_tokenizer_read_json(other, t, diag)))
        status = ecd_tokenizer_read_config(root, t, diag);
    cJSON_Delete(root);
    cJSON_Delete(other);
    return status;
}

static ecd_status read_input(const uint8_t *input, size_t size, ecd_tokenizer *t, ecd_diag *diag)
{
    const char *text = (const char *)input + 1;
    cJSON *root = NULL;
    const char *end = memchr(text, 0, size - 1);
    size_t first = end ? (size_t)(end - text) : size - 1, second = end ? size - 2 - first : 0;
    ecd_status status;
    switch (input[0]) {
    case 'S': return ecd_tokenizer_read_spiece(text, size - 1, t, diag);
    case 'M': return read_two(text, first, end ? end + 1 : text, second, false, t, diag);
    case 'C': return read_two(text, first, end ? end + 1 : text, second, true, t, diag);
    default:
        status = parse(text, size - 1, &root, diag);
        if (!status)
            status = ecd_tokenizer_read_json(root, t, diag);
        cJSON_Delete(root);
        return status;
    }
}

static void use(const ecd_tokenizer *t, const char *text, size_t max_length)
{
    ecd_diag diag = {0};
    ecd_tokens tokens;
    ecd_status status = ecd_tokenizer_encode(t, text, strlen(text), max_length, max_length > 0, &tokens, &diag);
    check_fault(status, &diag);
    FUZZ_REQUIRE(status || !max_length || tokens.count == max_length);
    for (size_t i = 0; i < tokens.count; i++) {
        size_t size;
        FUZZ_REQUIRE(tokens.ids[i] < ecd_tokenizer_id_limit(t) && ecd_tokenizer_piece(t, tokens.ids[i], &size) && size);
    }
    ecd_tokens_free(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    ecd_diag diag = {0};
    ecd_tokenizer *t = calloc(1, sizeof *t);
    FUZZ_REQUIRE(t);
    t->pad = -1;
    ecd_status status = size ? read_input(input, size, t, &diag) : ECD_OK;
    check_fault(status, &diag);
    for (size_t i = 0; size && !status && i < sizeof texts / sizeof *texts; i++) {
        use(t, texts[i], 0);
        use(t, texts[i], 5);
    }
    ecd_tokenizer_close(t);
    return 0;
}
