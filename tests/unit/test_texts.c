// From prompts to pictures: FluxPipeline's of models/flux_c, whole, on ref and cpu; the cache of texts; lists of prompts.
#include "tests/unit/reference.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "app/prompts.h"
#include "app/recipe.h"
#include "lib/sha256.h"
#include "lib/shelf.h"
#include "lib/texts.h"
#include "weights/tree.h"

static const char *const folder = ECD_TEST_DATA "/models/flux_c";

typedef struct sample {
    const char *prompt, *reference;
    uint64_t seed;
    int64_t width, height;
    const char *golden; // sha256 of ref's picture
} sample;

static const sample samples[] = {
    {"a photo of a cat holding a sign that says hello world", "image/prompt0/seed0/32x32/steps4/guidance3.5", 0, 32, 32,
     "2c5d1415b1103fd633e7b9865bdabec07f34212a557d12552480c6bc229f800d"},
    {"na\xc3\xafve caf\xc3\xa9 \xe2\x80\x94 \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\xb1\xf0\x9f\x9a\x80 emoji test",
     "image/prompt3/seed5/24x48/steps4/guidance3.5", 5, 24, 48,
     "e1d36f238ef5c9e0d267fac6065260b48e09fc3c2e744de9421799c4ad499d6e"},
};

enum { TOKENS = 48, PICTURE = 3 * 24 * 48, HIDDEN = TOKENS * 32, POOLED = 24 };

static ecd_backend *open_backend(const char *name)
{
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    const ecd_backend_options options = {.name = name, .compute = ECD_COMPUTE_F32, .threads = 2};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    return be;
}

static ecd_texts *open_texts(int64_t tokens)
{
    ecd_diag diag = {0};
    ecd_model_folder model;
    ecd_transformer_info info;
    ecd_texts *texts = NULL;
    expect_ok(ecd_model_folder_open(folder, &model, &diag), &diag);
    expect_ok(ecd_transformer_describe(model.transformer_class, model.transformer, &info, &diag), &diag);
    expect_ok(ecd_texts_open(&model, &info, tokens, &texts, &diag), &diag);
    ecd_model_folder_close(&model);
    return texts;
}

static size_t add(ecd_texts *texts, const char *prompt)
{
    ecd_texts_cut cut;
    ecd_diag diag = {0};
    size_t index;
    expect_ok(ecd_texts_add(texts, prompt, &index, &cut, &diag), &diag);
    ecd_texts_need(texts, index);
    return index;
}

typedef struct warned {
    int times;
    char last[1024];
} warned;

static void keep_warning(void *user, const char *text)
{
    warned *w = user;
    w->times++;
    snprintf(w->last, sizeof w->last, "%s", text);
}

static void read_texts(ecd_texts *texts, ecd_backend *be, const char *cache, warned *w)
{
    ecd_diag diag = {0};
    const ecd_texts_reading reading = {.backend = be, .cache = cache, .warn = keep_warning, .user = w};
    expect_ok(ecd_texts_read(texts, &reading, &diag), &diag);
}

typedef struct album {
    uint8_t rgb[3][PICTURE];
    size_t bytes;
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    album *a = user;
    (void)diag;
    a->bytes = (size_t)(3 * height * width);
    assert_true(a->bytes <= PICTURE);
    memcpy(a->rgb[index], rgb, a->bytes);
    return ECD_OK;
}

// The sample `count` times, with seeds from `first` on.
static void draw(const sample *s, ecd_backend *be, ecd_texts *texts, size_t index, uint64_t first, int64_t count, album *a)
{
    static float hidden[HIDDEN], pooled[POOLED];
    ecd_diag diag = {0};
    ecd_pipeline *p = NULL;
    const ecd_pipeline_options options = {.model = folder,
                                          .backend = be,
                                          .max_pictures = count,
                                          .height = s->height,
                                          .width = s->width,
                                          .text_tokens = ecd_texts_tokens(texts)};
    expect_ok(ecd_pipeline_open(&options, &p, &diag), &diag);
    expect_ok(ecd_texts_take(texts, index, hidden, pooled, &diag), &diag);
    ecd_picture_request requests[3];
    ecd_picture_text conditions[3];
    for (int64_t i = 0; i < count; i++) {
        requests[i] = (ecd_picture_request){.seed = first + (uint64_t)i};
        conditions[i] = (ecd_picture_text){hidden, pooled};
    }
    const ecd_draw call = {.pictures = requests,
                           .texts = conditions,
                           .count = count,
                           .steps = 4,
                           .guidance = 3.5f,
                           .sink = keep,
                           .user = a};
    expect_ok(ecd_pipeline_draw(p, &call, &diag), &diag);
    ecd_pipeline_close(p);
}

static void compare(const sample *s, const uint8_t *rgb, size_t bytes)
{
    ecd_checkpoint *cp = open_reference("models/flux_c/reference.safetensors");
    float *expected = reference_values(cp, s->reference);
    int largest = 0;
    for (size_t i = 0; i < bytes; i++) {
        int difference = abs((int)rintf(expected[i] * 255) - rgb[i]);
        largest = difference > largest ? difference : largest;
    }
    if (largest > 1)
        fail_msg("%s: differs by %d/255", s->reference, largest);
    free(expected);
    ecd_checkpoint_close(cp);
}

static void check_backend(const char *backend)
{
    static album one, three;
    char hash[ECD_SHA256_TEXT];
    ecd_backend *be = open_backend(backend);
    ecd_texts *texts = open_texts(TOKENS);
    size_t index[2] = {add(texts, samples[0].prompt), add(texts, samples[1].prompt)};
    assert_int_equal(add(texts, samples[0].prompt), index[0]); // the same one again
    read_texts(texts, be, NULL, NULL);
    assert_int_equal(ecd_texts_encoded(texts), 4);
    for (int i = 0; i < 2; i++) {
        const sample *s = &samples[i];
        draw(s, be, texts, index[i], s->seed, 1, &one);
        compare(s, one.rgb[0], one.bytes);
        ecd_sha256(one.rgb[0], one.bytes, hash);
        if (!strcmp(backend, "ref"))
            assert_string_equal(hash, s->golden);
        draw(s, be, texts, index[i], s->seed - 1, 3, &three);
        assert_memory_equal(one.rgb[0], three.rgb[1], one.bytes);
    }
    ecd_texts_close(texts);
    ecd_backend_close(be);
}

static void test_ref(void **state)
{
    (void)state;
    check_backend("ref");
}

static void test_cpu(void **state)
{
    (void)state;
    check_backend("cpu");
}

// Ids as transformers' tokenizers give them (the encoders' outputs say so), and outputs as its models do.
static void test_outputs(void **state)
{
    (void)state;
    static float hidden[HIDDEN], pooled[POOLED];
    ecd_diag diag = {0};
    ecd_backend *be = open_backend("cpu");
    ecd_texts *texts = open_texts(TOKENS);
    ecd_checkpoint *cp = open_reference("models/flux_c/reference.safetensors");
    static const char *const prompts[] = {
        samples[0].prompt, "An oil painting, 4k; ultra-detailed!! of THE Eiffel tower's shadow  at  dusk (1889)", "",
        samples[1].prompt, "it's we're they'll 'quoted' don't 12345 #hash @at"};
    double largest = 0;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(add(texts, prompts[i]), i);
    read_texts(texts, be, NULL, NULL);
    for (size_t i = 0; i < 5; i++) {
        char name[32];
        expect_ok(ecd_texts_take(texts, i, hidden, pooled, &diag), &diag);
        snprintf(name, sizeof name, "t5_hidden/%zu", i);
        float *expected = reference_values(cp, name);
        double difference = relative_difference(hidden, expected, HIDDEN);
        largest = difference > largest ? difference : largest;
        free(expected);
        snprintf(name, sizeof name, "clip_pooled/%zu", i);
        expected = reference_values(cp, name);
        difference = relative_difference(pooled, expected, POOLED);
        largest = difference > largest ? difference : largest;
        free(expected);
    }
    printf("text encoders: %.2g\n", largest);
    assert_true(largest < 1e-5);
    ecd_checkpoint_close(cp);
    ecd_texts_close(texts);
    ecd_backend_close(be);
}

static void test_cut(void **state)
{
    (void)state;
    ecd_texts *texts = open_texts(8);
    ecd_texts_cut cut;
    ecd_diag diag = {0};
    size_t index;
    char *text = calloc(1, 100001);
    assert_non_null(text);
    for (int i = 0; i < 100000; i += 4)
        memcpy(text + i, "cat ", 4);
    expect_ok(ecd_texts_add(texts, text, &index, &cut, &diag), &diag);
    assert_true(cut.cut[0] && cut.cut[1]);
    assert_int_equal(cut.tokens[0], 77);
    assert_int_equal(cut.tokens[1], 8);
    assert_true(cut.bytes[0] > 75 * 3 && cut.bytes[0] <= 75 * 4);
    assert_true(cut.bytes[1] > 0 && cut.bytes[1] <= 8 * 4);
    expect_ok(ecd_texts_add(texts, "cat", &index, &cut, &diag), &diag);
    assert_true(index == 1 && !cut.cut[0] && !cut.cut[1]);
    assert_int_equal(ecd_texts_add(texts, "caf\xe9", &index, &cut, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "at byte 3)"));
    free(text);
    ecd_texts_close(texts);
}

// The path of the only file in `cache` whose name begins with `start`.
static void find_file(const char *cache, const char *start, char path[4096])
{
    char command[4096];
    snprintf(command, sizeof command, "ls %s/%s-*.safetensors", cache, start);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, 4096, list));
    path[strcspn(path, "\n")] = 0;
    pclose(list);
}

static void damage(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void expect_cache(ecd_backend *be, const char *cache, int64_t tokens, size_t encoded, int warnings, float *hidden)
{
    static float pooled[POOLED];
    ecd_diag diag = {0};
    warned w = {0};
    ecd_texts *texts = open_texts(tokens);
    size_t index = add(texts, "a cat");
    read_texts(texts, be, cache, &w);
    assert_int_equal(ecd_texts_encoded(texts), encoded);
    assert_int_equal(ecd_texts_from_cache(texts), 2 - encoded);
    assert_int_equal(w.times, warnings);
    assert_true(!warnings || strstr(w.last, "damaged"));
    expect_ok(ecd_texts_take(texts, index, hidden, pooled, &diag), &diag);
    ecd_texts_close(texts);
}

static void test_cache(void **state)
{
    (void)state;
    static float first[HIDDEN], again[HIDDEN];
    char cache[] = "ecdit-texts-XXXXXX", path[4096];
    assert_non_null(mkdtemp(cache));
    ecd_backend *be = open_backend("cpu"), *other = open_backend("ref");
    expect_cache(be, cache, TOKENS, 2, 0, first);
    expect_cache(be, cache, TOKENS, 0, 0, again);
    assert_memory_equal(first, again, sizeof first);
    find_file(cache, "text_encoder_2", path);
    for (long at = 0; at < 6000; at += 1999) { // in the header, and in the values
        damage(path, at);
        memset(again, 0, sizeof again);
        expect_cache(be, cache, TOKENS, 1, 1, again);
        assert_memory_equal(first, again, sizeof first);
        expect_cache(be, cache, TOKENS, 0, 0, again);
    }
    assert_int_equal(truncate(path, 100), 0);
    expect_cache(be, cache, TOKENS, 1, 1, again);
    expect_cache(be, cache, TOKENS - 8, 1, 0, again); // another length: T5's alone
    expect_cache(other, cache, TOKENS, 2, 0, again);  // another backend
    ecd_backend_close(be);
    ecd_backend_close(other);
    ecd_folder_remove(cache);
}

static void test_shelf(void **state)
{
    (void)state;
    enum { LONG = 1 << 18 }; // a megabyte each: beyond 64 they lie in a file
    ecd_diag diag = {0};
    float *values = malloc(LONG * sizeof *values);
    assert_non_null(values);
    for (size_t count = 3; count <= 70; count += 67) {
        ecd_shelf shelf;
        expect_ok(ecd_shelf_new(count, LONG, &shelf, &diag), &diag);
        assert_true((ecd_shelf_memory_bytes(&shelf) > 0) == (count == 3));
        for (size_t i = count; i-- > 0;) {
            values[0] = (float)i;
            values[LONG - 1] = (float)i + 0.5f;
            expect_ok(ecd_shelf_put(&shelf, i, values, &diag), &diag);
        }
        for (size_t i = 0; i < count; i++) {
            expect_ok(ecd_shelf_take(&shelf, i, values, &diag), &diag);
            assert_true(values[0] == (float)i && values[LONG - 1] == (float)i + 0.5f);
        }
        ecd_shelf_free(&shelf);
        ecd_shelf_free(&shelf);
    }
    free(values);
}

static void test_list(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbfone\r\n\n{\"prompt\": \"\", \"seed\": \"18446744073709551615\", \"size\": \"16x32\","
                               " \"steps\": 3, \"guidance\": 0}\n{\"prompt\": 3}\n{\"prompt\": \"a\", \"size\": \"0x3\"}\n"
                               "{\"prompt\": \"a\", \"stepz\": 1}\n{\"prompt\": \"a\", \"seed\": -1}\n{\n nul \0 nul\nlast";
    ecd_prompts list;
    ecd_diag diag = {0};
    expect_ok(ecd_prompts_parse(text, sizeof text - 1, &list, &diag), &diag);
    assert_int_equal(list.count, 9);
    assert_string_equal(list.items[0].text, "one");
    assert_int_equal(list.items[1].line, 3);
    assert_string_equal(list.items[1].text, "");
    assert_true(list.items[1].has_seed && list.items[1].seed == UINT64_MAX);
    assert_true(list.items[1].size.width == 16 && list.items[1].size.height == 32 && list.items[1].steps == 3);
    assert_true(list.items[1].guidance == 0 && isnan(list.items[0].guidance));
    static const char *const says[] = {"prompt", "size", "stepz", "seed", "JSON", "NUL"};
    for (size_t i = 0; i < 6; i++) {
        assert_null(list.items[2 + i].text);
        assert_int_equal(list.items[2 + i].diag.status, ECD_USAGE);
        if (!strstr(list.items[2 + i].diag.what, says[i]))
            fail_msg("line %zu: %s", list.items[2 + i].line, list.items[2 + i].diag.what);
    }
    assert_string_equal(list.items[8].text, "last");
    ecd_prompts_free(&list);
    assert_int_equal(ecd_prompts_parse("\n\r\n", 3, &list, &diag), ECD_USAGE);
    assert_int_equal(list.count, 0);
}

static void test_recipe(void **state)
{
    (void)state;
    ecd_recipe_image image = {.prompt = (char[]){"two\nlines \"and\" \xe2\x82\xac"}, .seed = UINT64_MAX};
    ecd_recipe recipe = {.version = "1", .model = "m", .width = 16, .height = 16, .steps = 2, .max_tokens = 48, .guidance = 1,
                         .sampler = "auto", .backend = "ref", .compute = "f32", .weights = "raw", .images = &image, .count = 1};
    ecd_recipe back;
    ecd_diag diag = {0};
    char *text = ecd_recipe_format(&recipe, NULL);
    assert_non_null(text);
    expect_ok(ecd_recipe_parse(text, &back, &diag), &diag);
    assert_string_equal(back.images[0].prompt, image.prompt);
    assert_int_equal(back.max_tokens, 48);
    assert_true(back.images[0].seed == UINT64_MAX);
    ecd_recipe_free(&back);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),   cmocka_unit_test(test_cpu),   cmocka_unit_test(test_outputs), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cache), cmocka_unit_test(test_shelf), cmocka_unit_test(test_list),    cmocka_unit_test(test_recipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
