// Token ids: those of Hugging Face's tokenizers and of sentencepiece, on flux_a's prompts and on lines of mixed text
// whose ids, as tests/peers/tokenizers.sh has compared them with those libraries, are kept as a digest.
//
// tests/data/text: clip_tokenizer is CLIP's vocabulary cut to its first 1000 merges and those that the prompts need;
// t5_tokenizer is flux_a's; spiece a small model with a small character map, t5_charsmap the same as tokenizer.json.
#include "reference.h"

#include <string.h>

#include "tests/unit/text_lines.h"
#include "text/tokenizer.h"

enum { LINES = 2000 };

static const char *const prompts[] = {
    "a photo of a cat holding a sign that says hello world",
    "An oil painting, 4k; ultra-detailed!! of THE Eiffel tower's shadow  at  dusk (1889)",
    "",
    "na\xc3\xafve caf\xc3\xa9 \xe2\x80\x94 \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\xb1\xf0\x9f\x9a\x80 emoji test",
    "it's we're they'll 'quoted' don't 12345 #hash @at",
};

static ecd_tokenizer *open_tokenizer(const char *name)
{
    char path[4096];
    ecd_diag diag = {0};
    ecd_tokenizer *tokenizer = NULL;
    snprintf(path, sizeof path, "%s/text/%s", ECD_TEST_DATA, name);
    expect_ok(ecd_tokenizer_open(path, &tokenizer, &diag), &diag);
    return tokenizer;
}

static void check_prompts(const char *folder, const char *kind, size_t length)
{
    ecd_checkpoint *reference = open_reference("text/reference.safetensors");
    ecd_tokenizer *tokenizer = open_tokenizer(folder);
    for (int p = 0; p < 5; p++) {
        char name[64];
        ecd_diag diag = {0};
        ecd_tokens tokens;
        snprintf(name, sizeof name, "%s_ids/%d", kind, p);
        const ecd_tensor *ids = reference_tensor(reference, name);
        expect_ok(ecd_tokenizer_encode(tokenizer, prompts[p], strlen(prompts[p]), length, true, &tokens, &diag), &diag);
        assert_int_equal(tokens.count, length);
        assert_int_equal(ids->count, length);
        assert_memory_equal(tokens.ids, ids->data, length * sizeof *tokens.ids);
        assert_true(tokens.used >= 1 && tokens.used <= length && !tokens.left_out);
        ecd_tokens_free(&tokens);
    }
    ecd_tokenizer_close(tokenizer);
    ecd_checkpoint_close(reference);
}

static void test_clip_prompts(void **state)
{
    (void)state;
    check_prompts("clip_tokenizer", "clip", 77);
}

static void test_t5_prompts(void **state)
{
    (void)state;
    check_prompts("t5_tokenizer", "t5", 48);
}

static uint64_t mix(uint64_t digest, int32_t id) // FNV-1a
{
    for (int byte = 0; byte < 4; byte++)
        digest = (digest ^ ((uint32_t)id >> (8 * byte) & 0xff)) * UINT64_C(0x100000001b3);
    return digest;
}

static uint64_t digest_lines(const char *folder)
{
    static char line[TEXT_LINE_MAX];
    ecd_tokenizer *tokenizer = open_tokenizer(folder);
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < LINES; i++) {
        ecd_diag diag = {0};
        ecd_tokens tokens;
        size_t size = text_line_make(i, line);
        expect_ok(ecd_tokenizer_encode(tokenizer, line, size, 0, false, &tokens, &diag), &diag);
        for (size_t t = 0; t < tokens.count; t++)
            digest = mix(digest, tokens.ids[t]);
        digest = mix(digest, -1);
        ecd_tokens_free(&tokens);
    }
    ecd_tokenizer_close(tokenizer);
    return digest;
}

static void test_lines(void **state)
{
    (void)state;
    assert_int_equal(digest_lines("clip_tokenizer"), UINT64_C(0x1de13801a0e72c32));
    assert_int_equal(digest_lines("t5_tokenizer"), UINT64_C(0x1746c64444a76c06));
    assert_int_equal(digest_lines("t5_charsmap"), UINT64_C(0xbf2477e3d4b0be1a));
    assert_int_equal(digest_lines("spiece"), UINT64_C(0x105d21baf952271e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip_prompts),
        cmocka_unit_test(test_t5_prompts),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
