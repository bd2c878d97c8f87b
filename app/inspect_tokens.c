// ecdit inspect FOLDER --tokens TEXT: what each tokenizer of a model folder makes of a text.
#include "app/inspect.h"

#include <stdio.h>
#include <string.h>

#include "app/common.h"
#include "lib/texts.h"
#include "text/tokenizer.h"

// Control characters would act on the terminal.
static void put_piece(const char *piece, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)piece[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static void print_text(const char *name, const ecd_tokenizer *t, const ecd_tokens *tokens)
{
    size_t limit = ecd_tokenizer_max_length(t);
    printf("%s%s%s of %s, %zu tokens", name, *name ? ": " : "", ecd_tokenizer_model(t), ecd_tokenizer_source(t), tokens->count);
    if (limit && tokens->count > limit)
        printf(" (more than its %zu)", limit);
    putchar('\n');
    for (size_t i = 0; i < tokens->count; i++) {
        size_t size = 0;
        const char *piece = ecd_tokenizer_piece(t, tokens->ids[i], &size);
        printf("%8d  ", (int)tokens->ids[i]);
        put_piece(piece ? piece : "", size);
    }
}

static bool add_tokens(const ecd_tokenizer *t, const ecd_tokens *tokens, cJSON *item)
{
    cJSON *ids = cJSON_AddArrayToObject(item, "ids"), *pieces = cJSON_AddArrayToObject(item, "pieces");
    char text[2048]; // a piece is shorter (ECD_PIECE_MAX_BYTES)
    bool ok = ids && pieces;
    for (size_t i = 0; ok && i < tokens->count; i++) {
        size_t size = 0;
        const char *piece = ecd_tokenizer_piece(t, tokens->ids[i], &size);
        snprintf(text, sizeof text, "%.*s", (int)size, piece ? piece : "");
        ok = cJSON_AddItemToArray(ids, cJSON_CreateNumber(tokens->ids[i])) &&
             cJSON_AddItemToArray(pieces, cJSON_CreateString(text));
    }
    return ok;
}

static ecd_status print_one(const char *name, const ecd_tokenizer *t, const char *text, cJSON *list, ecd_diag *diag)
{
    ecd_tokens tokens;
    ecd_status status = ecd_tokenizer_encode(t, text, strlen(text), 0, false, &tokens, diag);
    if (status)
        return status;
    if (!list) {
        print_text(name, t, &tokens);
    } else {
        cJSON *item = cJSON_CreateObject();
        bool ok = item && cJSON_AddItemToArray(list, item) && cJSON_AddStringToObject(item, "name", name) &&
                  cJSON_AddStringToObject(item, "source", ecd_tokenizer_source(t)) &&
                  cJSON_AddStringToObject(item, "model", ecd_tokenizer_model(t)) &&
                  cJSON_AddNumberToObject(item, "max_length", (double)ecd_tokenizer_max_length(t)) &&
                  add_tokens(t, &tokens, item);
        status = ok ? ECD_OK : ecd_fail_memory(diag, 1024, "the report");
    }
    ecd_tokens_free(&tokens);
    return status;
}

ecd_status ecd_inspect_tokens(const char *folder, const char *text, bool json, ecd_diag *diag)
{
    const char *names[ECD_TEXTS_PARTS];
    ecd_tokenizer *tokenizers[ECD_TEXTS_PARTS] = {NULL};
    cJSON *root = json ? cJSON_CreateObject() : NULL, *list = root ? cJSON_AddArrayToObject(root, "tokenizers") : NULL;
    ecd_status status = json && !list ? ecd_fail_memory(diag, 1024, "the report") : ECD_OK;
    if (!status)
        status = ecd_texts_tokenizers(folder, names, tokenizers, diag);
    for (int i = 0; !status && i < ECD_TEXTS_PARTS; i++)
        if (tokenizers[i])
            status = print_one(names[i], tokenizers[i], text, list, diag);
    char *report = !status && json ? cJSON_Print(root) : NULL;
    if (!status && json && !report)
        status = ecd_fail_memory(diag, 1024, "the report");
    if (report)
        puts(report);
    cJSON_free(report);
    for (int i = 0; i < ECD_TEXTS_PARTS; i++)
        ecd_tokenizer_close(tokenizers[i]);
    cJSON_Delete(root);
    return status ? status : ecd_app_flush_stdout(diag);
}
