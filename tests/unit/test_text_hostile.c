// Tokenizer files that are cut, inconsistent or made to hurt, and texts that are very long: an error that says what is
// wrong, or ids of the vocabulary; never a crash, and never long.
#include "reference.h"

#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "text/tokenizer.h"
#include "weights/tree.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "ecdit-hostile-XXXXXX");
    return !mkdtemp(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    ecd_folder_remove(folder);
    return 0;
}

static void put(const char *name, const char *data, size_t size)
{
    char path[256];
    ecd_diag diag = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (data)
        expect_ok(ecd_file_write(path, data, size, &diag), &diag);
}

// The folder holds these files alone; NULL: not there.
static void put_all(const char *json, const char *vocab, const char *merges, const char *config)
{
    put("tokenizer.json", json, json ? strlen(json) : 0);
    put("vocab.json", vocab, vocab ? strlen(vocab) : 0);
    put("merges.txt", merges, merges ? strlen(merges) : 0);
    put("tokenizer_config.json", config, config ? strlen(config) : 0);
    put("spiece.model", NULL, 0);
}

static void refuse(const char *says)
{
    ecd_diag diag = {0};
    ecd_tokenizer *t = NULL;
    ecd_status status = ecd_tokenizer_open(folder, &t, &diag);
    if (status != ECD_DATA || t || !strstr(diag.what, says) || !diag.file[0])
        fail_msg("status %d, file \"%s\": %s (expected: %s)", status, diag.file, diag.what, says);
}

// Every id is the vocabulary's, with and without a limit, and what fits is a beginning of the text.
static void check_text(const ecd_tokenizer *t, const char *text, size_t size)
{
    for (size_t limit = 0; limit <= 20; limit += 20) {
        ecd_diag diag = {0};
        ecd_tokens tokens;
        size_t reach = 0;
        ecd_status status = ecd_tokenizer_encode(t, text, size, limit, false, &tokens, &diag);
        if (status == ECD_DATA && diag.what[0]) // a model without an unknown piece
            continue;
        expect_ok(status, &diag);
        assert_true(!limit || tokens.count <= limit);
        for (size_t i = 0; i < tokens.count; i++) {
            size_t piece;
            assert_true(tokens.ids[i] < ecd_tokenizer_id_limit(t) && ecd_tokenizer_piece(t, tokens.ids[i], &piece));
        }
        if (limit && size <= 1000) {
            expect_ok(ecd_tokenizer_reach(t, text, size, limit, &reach, &diag), &diag);
            assert_true(reach <= size && (reach == size) == !tokens.left_out);
        }
        ecd_tokens_free(&tokens);
    }
}

static void use(const ecd_tokenizer *t)
{
    static const char *const texts[] = {"", "a", "abc  \xe6\x9d\xb1 \xf0\x9f\x90\xb1!", "it's THE </s> <|endoftext|> 12"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_text(t, texts[i], strlen(texts[i]));
}

static void test_merges(void **state)
{
    (void)state;
    static const char good[] = "{\"a\":0,\"b\":1,\"ab\":2,\"b</w>\":3,\"<|startoftext|>\":4,\"<|endoftext|>\":5}";
    static const struct {
        const char *vocab, *merges, *says;
    } bad[] = {
        {good, "#version: 0.2\na\n", "line 2 is \"a\", expected two pieces"},
        {good, "a b c\n", "expected two pieces"},
        {good, " b\n", "expected two pieces"},
        {good, "a \n", "expected two pieces"},
        {good, "a b\na x\n", "\"x\", which is not in the vocabulary"},
        {good, "b a\n", "makes \"ba\", which is not in the vocabulary"},
        {"{\"a\":0,\"<|startoftext|>\":1}", "", "lacks \"<|endoftext|>\""},
        {"{}", "", "lacks \"<|startoftext|>\""},
        {"{\"a\":0,\"b\":0,\"<|startoftext|>\":1,\"<|endoftext|>\":2}", "", "two pieces have the id 0"},
        {"{\"a\":-1}", "", "expected an integer from 0"},
        {"{\"a\":0.5}", "", "expected an integer from 0"},
        {"{\"a\":4194304}", "", "expected an integer from 0"},
        {"{\"a\":1e300}", "", "expected an integer from 0"},
        {"{\"a\":\"1\"}", "", "expected an integer from 0"},
        {"{\"a\":null}", "", "expected an integer from 0"},
        {"{\"a\":[[[]]]}", "", "expected an integer from 0"},
        {"{\"\":1}", "", "a piece of 0 bytes"},
        {"[1]", "", ""},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_all(NULL, bad[i].vocab, bad[i].merges, NULL);
        refuse(bad[i].says);
    }
    char longest[2100] = "{\"";
    memset(longest + 2, 'x', 2000);
    snprintf(longest + 2002, sizeof longest - 2002, "\":0}");
    put_all(NULL, longest, "", NULL);
    refuse("a piece of 2000 bytes");
    put_all(NULL, good, "a b\na b\n\n#version\nab b</w>", NULL); // it makes "abb</w>"
    refuse("not in the vocabulary");
    put_all(NULL, good, "a b\na b\n\n", "{\"pad_token\":\"no\"}");
    refuse("pad_token \"no\"");
    put_all(NULL, good, "a b\na b\n\n", "{\"model_max_length\":1e30,\"pad_token\":{\"content\":\"a\"}}");
    ecd_diag diag = {0};
    ecd_tokenizer *t = NULL;
    expect_ok(ecd_tokenizer_open(folder, &t, &diag), &diag);
    assert_int_equal(ecd_tokenizer_max_length(t), 0);
    use(t);
    ecd_tokenizer_close(t);
}

#define UNIGRAM(vocab, rest) "{\"model\":{\"type\":\"Unigram\",\"vocab\":" vocab rest "}}"

static void test_json(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"{}", "no \"model\""},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "WordPiece"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "is not two pieces"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "is not two pieces"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\",\"a\"]]}}", "is not two pieces"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "makes \"aa\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", "unk_token"},
        {UNIGRAM("[]", ""), "expected a list"},
        {UNIGRAM("[[\"a\"]]", ""), "is not a piece and its score"},
        {UNIGRAM("[[\"a\",NaN]]", ""), "is not a piece and its score"},
        {UNIGRAM("[[\"a\",-1],[\"a\",-2]]", ""), "comes twice"},
        {UNIGRAM("[[\"a\",-1]]", ",\"unk_id\":1"), "unk_id"},
        {UNIGRAM("[[\"a\",-1]]", ",\"byte_fallback\":true"), "byte_fallback"},
        {"{\"added_tokens\":[{\"content\":\"a\",\"id\":7}],\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}}",
         "has the id 7, but 0 in the vocabulary"},
        {"{\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",9],\"sep\":[\"a\",0]},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}}",
         "the post-processor adds the id 9"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}}",
         "does not compile"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_all(bad[i].json, NULL, NULL, NULL);
        refuse(bad[i].says);
    }
}

// Merges that take a symbol away and leave the other as it was, round and round, over a very long word.
static void test_cycle(void **state)
{
    (void)state;
    enum { LONG = 100000 };
    put_all("{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\",\"vocab\":{\"a\":0,\"##\":1,\"##a\":2,\"aa\":3,"
            "\"##aa\":4},\"merges\":[\"a ##\",\"a ##a\",\"aa ##\",\"##a ##a\",\"## ##\"]}}",
            NULL, NULL, NULL);
    ecd_diag diag = {0};
    ecd_tokenizer *t = NULL;
    char *text = malloc(LONG);
    assert_non_null(text);
    expect_ok(ecd_tokenizer_open(folder, &t, &diag), &diag);
    memset(text, 'a', LONG);
    check_text(t, text, LONG);
    use(t);
    free(text);
    ecd_tokenizer_close(t);
}

static char *read_data(const char *name, size_t *size)
{
    char path[4096];
    ecd_file file;
    ecd_diag diag = {0};
    snprintf(path, sizeof path, "%s/text/%s", ECD_TEST_DATA, name);
    expect_ok(ecd_file_map(path, &file, &diag), &diag);
    char *data = malloc(file.size_bytes);
    assert_non_null(data);
    memcpy(data, file.data, file.size_bytes);
    *size = file.size_bytes;
    ecd_file_unmap(&file);
    return data;
}

// Cut after every `step`th byte, and with a byte changed there.
static void damage(const char *source, const char *name, size_t step)
{
    size_t size;
    char *data = read_data(source, &size);
    for (size_t at = 0; at < size; at += step) {
        for (int cut = 0; cut < 2; cut++) {
            ecd_diag diag = {0};
            ecd_tokenizer *t = NULL;
            data[at] = (char)(data[at] ^ (cut ? 0 : 0x15));
            put(name, data, cut ? at : size);
            data[at] = (char)(data[at] ^ (cut ? 0 : 0x15));
            ecd_status status = ecd_tokenizer_open(folder, &t, &diag);
            if (status && (status != ECD_DATA || !diag.what[0] || !diag.file[0]))
                fail_msg("%s, byte %zu: status %d, %s", source, at, status, diag.what);
            if (!status)
                use(t);
            ecd_tokenizer_close(t);
        }
    }
    free(data);
}

static void test_damage(void **state)
{
    (void)state;
    size_t size;
    put_all(NULL, NULL, NULL, NULL);
    damage("t5_tokenizer/tokenizer.json", "tokenizer.json", 211);
    put_all(NULL, NULL, NULL, NULL);
    damage("spiece/spiece.model", "spiece.model", 61);
    put_all(NULL, NULL, NULL, NULL);
    char *merges = read_data("clip_tokenizer/merges.txt", &size);
    put("merges.txt", merges, size);
    free(merges);
    damage("clip_tokenizer/vocab.json", "vocab.json", 199);
    char *vocab = read_data("clip_tokenizer/vocab.json", &size);
    put("vocab.json", vocab, size);
    free(vocab);
    damage("clip_tokenizer/merges.txt", "merges.txt", 83);
}

// Texts of 100,000 characters, in seconds at most (a look at the clock that a loaded machine does not fail).
static void test_long_texts(void **state)
{
    (void)state;
    enum { CHARACTERS = 100000 };
    static const char *const names[] = {"clip_tokenizer", "t5_tokenizer", "spiece"};
    static const char *const units[] = {"a",       " ", "ab ",  "\xf0\x9f\x90\xb1", "e\xcc\x81",
                                        "'", "</s>", "\xe2\x96\x81",     "\xef\xb7\xba"};
    char *text = malloc(8 * CHARACTERS);
    assert_non_null(text);
    uint64_t start = ecd_now_ns();
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char path[4096];
        ecd_diag diag = {0};
        ecd_tokenizer *t = NULL;
        snprintf(path, sizeof path, "%s/text/%s", ECD_TEST_DATA, names[n]);
        expect_ok(ecd_tokenizer_open(path, &t, &diag), &diag);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t unit = strlen(units[u]), size = 0, reach;
            for (size_t i = 0; i < CHARACTERS; i++, size += unit)
                memcpy(text + size, units[u], unit);
            check_text(t, text, size);
            expect_ok(ecd_tokenizer_reach(t, text, size, 64, &reach, &diag), &diag);
            assert_true(reach <= size && (reach == size || ((unsigned char)text[reach] & 0xc0) != 0x80));
        }
        text[0] = (char)0xff;
        ecd_tokens tokens;
        assert_int_equal(ecd_tokenizer_encode(t, text, CHARACTERS, 0, false, &tokens, &diag), ECD_USAGE);
        assert_non_null(strstr(diag.what, "(byte 0xff at byte 0)"));
        ecd_tokenizer_close(t);
    }
    free(text);
    assert_true(ecd_now_ns() - start < UINT64_C(120000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges), cmocka_unit_test(test_json),       cmocka_unit_test(test_cycle),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
