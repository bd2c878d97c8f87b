// Out of memory anywhere while tokenizers are read and used, and text encoders opened and run.
#define _GNU_SOURCE
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "oom/oom.h"
#include "text/encoder.h"
#include "text/tokenizer.h"
#include "weights/json.h"

static ecd_status encode(void *user, ecd_diag *diag)
{
    static const char text[] = "It's na\xc3\xafve </s>  12 \xf0\x9f\x90\xb1 caf\xc3\xa9!";
    ecd_tokenizer *t = NULL;
    ecd_tokens tokens = {0};
    ecd_status status = ecd_tokenizer_open(user, &t, diag);
    if (!status)
        status = ecd_tokenizer_encode(t, text, strlen(text), 32, false, &tokens, diag);
    ecd_tokens_free(&tokens);
    ecd_tokenizer_close(t);
    return status;
}

struct model {
    const char *class_name, *folder;
    int64_t tokens;
};

static ecd_status run(void *user, ecd_diag *diag)
{
    const struct model *model = user;
    ecd_backend *be = NULL;
    cJSON *config = NULL;
    ecd_checkpoint *cp = NULL;
    ecd_encoder *encoder = NULL;
    char path[4096];
    static float hidden[2 * 8 * 32];
    const int32_t ids[2 * 8] = {1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1};
    snprintf(path, sizeof path, "%s/config.json", model->folder);
    ecd_status status = ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &be, diag);
    if (!status)
        status = ecd_json_read(path, &config, diag);
    if (!status)
        status = ecd_checkpoint_open(model->folder, &cp, diag);
    const ecd_encoder_options options = {.store = {.read_ahead = true}, .max_prompts = 1, .tokens = model->tokens};
    if (!status)
        status = ecd_encoder_open(model->class_name, config, cp, be, &options, &encoder, diag);
    if (!status)
        status = ecd_encoder_run(encoder, ids, 2, hidden, NULL, NULL, diag);
    ecd_encoder_close(encoder);
    ecd_checkpoint_close(cp);
    cJSON_Delete(config);
    ecd_backend_close(be);
    return status;
}

static void check(ecd_oom_attempt attempt, void *user, const char *what)
{
    ecd_oom_result result;
    ecd_oom_run(attempt, user, 300, &result);
    if (result.fault[0])
        fail_msg("%s: %s", what, result.fault);
    assert_true(result.allocations > 20);
}

static void tokenizers(void **cmocka)
{
    (void)cmocka;
    static char folders[][256] = {ECD_TEST_DATA "/text/clip_tokenizer", ECD_TEST_DATA "/text/t5_tokenizer",
                                  ECD_TEST_DATA "/text/spiece", ECD_TEST_DATA "/text/t5_charsmap"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        check(encode, folders[i], folders[i]);
}

static void encoders(void **cmocka)
{
    (void)cmocka;
    struct model clip = {"CLIPTextModel", ECD_TEST_DATA "/text/clip_a", 8};
    struct model t5 = {"T5EncoderModel", ECD_TEST_DATA "/text/t5_a", 8};
    check(run, &clip, "clip");
    check(run, &t5, "t5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokenizers), cmocka_unit_test(encoders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
