// Synthetic models: their tensors are the published files' in name and shape, their files what torch writes, the same
// name gives the same bytes, and the program draws with them.
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/synthetic_internal.h"
#include "base/file.h"
#include "dit/pipeline/pipeline.h"
#include "lib/texts.h"
#include "tests/unit/files.h"
#include "weights/checkpoint.h"
#include "weights/tree.h"

static char folder[] = "synthetic-XXXXXX";

static const char *inside(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static uint64_t elements_of(const ecd_synthetic_list *list)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < list->count; i++)
        sum += ecd_synthetic_elements(&list->tensors[i]);
    return sum;
}

// The published counts: 749,826,464 parameters in 538 tensors, of which 675 million are distinct, and 83,653,863 in 248.
static void counts_are_the_published(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const ecd_synthetic_model *m = ecd_synthetic_find(i ? "dit-xl-2-512" : "dit-xl-2-256");
        ecd_synthetic_list dit = {0}, vae = {0};
        ecd_synthetic_list_dit(m, &dit);
        ecd_synthetic_list_vae(m, &vae);
        assert_int_equal(dit.count, 538);
        assert_int_equal(elements_of(&dit), 749826464);
        assert_int_equal(vae.count, 248);
        assert_int_equal(elements_of(&vae), 83653863);
        free(dit.tensors);
        free(vae.tensors);
    }
}

// 11,901,408,320 parameters in 1160 tensors; T5-XXL's encoder 4,762,310,656 in 219; CLIP-L's 123,060,480 in 196; the VAE
// without quant convs 83,819,683 in 244.
static void flux_counts_are_the_published(void **state)
{
    (void)state;
    static const struct {
        void (*fill)(const ecd_synthetic_model *m, ecd_synthetic_list *list);
        size_t tensors;
        uint64_t elements;
    } parts[] = {{ecd_synthetic_list_flux, 1160, UINT64_C(11901408320)},
                 {ecd_synthetic_list_t5, 219, UINT64_C(4762310656)},
                 {ecd_synthetic_list_clip, 196, 123060480},
                 {ecd_synthetic_list_vae, 244, 83819683}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        ecd_synthetic_list list = {0};
        parts[i].fill(ecd_synthetic_find("flux1-dev"), &list);
        assert_int_equal(list.count, parts[i].tensors);
        assert_int_equal(elements_of(&list), parts[i].elements);
        free(list.tensors);
    }
}

static double deviation(const float *x, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)count);
}

// Matrices of blocks are E4M3 that reaches 448 in each row, with a scale a row that gives the deviation asked for.
static void flux_is_rounded_as_stated(void **state)
{
    (void)state;
    static const char *const components[] = {"flux/transformer", "flux/text_encoder_2", "flux/text_encoder", "flux/vae"};
    ecd_diag diag = {0};
    for (int c = 0; c < 4; c++) {
        ecd_checkpoint *cp;
        size_t rounded = 0;
        assert_int_equal(ecd_checkpoint_open(inside(components[c]), &cp, &diag), ECD_OK);
        for (size_t i = 0; i < ecd_checkpoint_count(cp); i++) {
            const ecd_tensor *t = ecd_checkpoint_tensor(cp, i);
            bool block = strstr(t->name, "_blocks.") || strstr(t->name, ".block.");
            bool expected = c < 2 && block && t->dims == 2 && !strstr(t->name, "relative") && !strstr(t->name, "_scale");
            assert_int_equal(t->dtype, expected ? ECD_E4M3 : strstr(t->name, "_scale") ? ECD_F32 : ECD_BF16);
            if (!expected)
                continue;
            assert_int_equal(t->scale_kind, ECD_SCALE_ROW);
            rounded++;
            float *x = malloc(t->count * sizeof *x);
            ecd_to_f32(t->dtype, t->data, x, t->count);
            for (int64_t r = 0; r < t->shape[0]; r++) {
                float scale, largest = 0;
                memcpy(&scale, t->scale->data + (size_t)r * sizeof scale, sizeof scale);
                for (int64_t k = r * t->shape[1]; k < (r + 1) * t->shape[1]; k++) {
                    largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
                    x[k] *= scale;
                }
                assert_true(largest == 448);
            }
            double gain = deviation(x, t->count) * sqrt((double)t->shape[1]);
            assert_true(strstr(t->name, "norm") ? gain > 0.4 && gain < 0.7 : gain > 0.8 && gain < 1.4);
            free(x);
        }
        assert_int_equal(rounded, c == 0 ? 2 * (2 + 8 + 4) + 3 * 6 : c == 1 ? 2 * 7 : 0);
        ecd_checkpoint_close(cp);
    }
}

static void every_name_is_known(void **state)
{
    (void)state;
    for (const char *const *name = ecd_synthetic_names; *name; name++)
        assert_non_null(ecd_synthetic_find(*name));
    ecd_diag diag = {0};
    assert_int_equal(ecd_synthetic_make("dit-xxl", inside("xxl"), NULL, NULL, &diag), ECD_USAGE);
    assert_false(ecd_path_exists(inside("xxl")));
}

static void tensors_are_drawn_as_stated(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_checkpoint *cp;
    assert_int_equal(ecd_checkpoint_open(inside("tiny/transformer"), &cp, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_count(cp), 63);
    for (size_t i = 0; i < ecd_checkpoint_count(cp); i++) {
        const ecd_tensor *t = ecd_checkpoint_tensor(cp, i);
        const float *x = (const float *)(const void *)t->data;
        assert_int_equal(t->dtype, ECD_F32);
        assert_int_equal(t->offset_bytes % 64, 0); // as torch aligns them: the store can lend them as they lie
        if (t->dims == 2 && !strstr(t->name, "embedding") && !strstr(t->name, "norm1.linear") &&
            strncmp(t->name, "proj_out_1", 10)) {
            double gain = deviation(x, t->count) * sqrt((double)t->shape[1]);
            assert_true(gain > 0.8 && gain < 1.4);
        }
    }
    const ecd_tensor *a = ecd_checkpoint_find(cp, "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight");
    const ecd_tensor *b = ecd_checkpoint_find(cp, "transformer_blocks.2.norm1.emb.class_embedder.embedding_table.weight");
    assert_memory_equal(a->data, b->data, a->size_bytes); // embedders are repeated in every block
    a = ecd_checkpoint_find(cp, "transformer_blocks.0.attn1.to_q.weight");
    b = ecd_checkpoint_find(cp, "transformer_blocks.2.attn1.to_q.weight");
    assert_memory_not_equal(a->data, b->data, a->size_bytes);
    ecd_checkpoint_close(cp);
}

static void the_same_name_gives_the_same_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"transformer/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin",
                                        "model_index.json"};
    static const char *const flux_names[] = {"transformer/diffusion_pytorch_model.safetensors",
                                             "text_encoder_2/model.safetensors", "tokenizer/vocab.json"};
    ecd_diag diag = {0};
    char first[128], second[128];
    assert_int_equal(ecd_synthetic_make("dit-tiny", inside("again"), NULL, NULL, &diag), ECD_OK);
    assert_int_equal(ecd_synthetic_make("flux1-tiny", inside("more"), NULL, NULL, &diag), ECD_OK);
    for (int i = 0; i < 3; i++) {
        snprintf(first, sizeof first, "%s/flux/%s", folder, flux_names[i]);
        snprintf(second, sizeof second, "%s/more/%s", folder, flux_names[i]);
        same_file(first, second);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(first, sizeof first, "%s/tiny/%s", folder, names[i]);
        snprintf(second, sizeof second, "%s/again/%s", folder, names[i]);
        same_file(first, second);
    }
    assert_int_equal(ecd_synthetic_make("dit-tiny", inside("again"), NULL, NULL, &diag), ECD_USAGE);
}

static ecd_status look(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)index;
    (void)diag;
    int seen[256] = {0}, kinds = 0;
    for (int64_t i = 0; i < 3 * height * width; i++)
        kinds += !seen[rgb[i]]++;
    *(int *)user = kinds;
    return ECD_OK;
}

// Any text has ids, both encoders read them, and the picture is one.
static void the_program_draws_a_text_with_it(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_backend *be;
    ecd_pipeline *p;
    ecd_model_folder model;
    ecd_transformer_info info;
    ecd_texts *texts;
    ecd_texts_cut cut;
    char path[128];
    int kinds = 0;
    size_t index;
    const ecd_backend_options backend = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 2};
    snprintf(path, sizeof path, "%s/flux", folder);
    assert_int_equal(ecd_backend_open(&backend, &be, &diag), ECD_OK);
    const ecd_texts_reading reading = {.backend = be};
    assert_int_equal(ecd_model_folder_open(path, &model, &diag), ECD_OK);
    assert_int_equal(ecd_transformer_describe(model.transformer_class, model.transformer, &info, &diag), ECD_OK);
    assert_int_equal(ecd_texts_open(&model, &info, 16, &texts, &diag), ECD_OK);
    assert_int_equal(ecd_texts_add(texts, "A \"fox\" \\ 1%!", &index, &cut, &diag), ECD_OK);
    assert_false(cut.cut[0] || cut.cut[1]);
    ecd_texts_need(texts, index);
    assert_int_equal(ecd_texts_read(texts, &reading, &diag), ECD_OK);
    float hidden[16 * 64], pooled[64];
    assert_int_equal(ecd_texts_take(texts, index, hidden, pooled, &diag), ECD_OK);
    const ecd_pipeline_options options = {
        .model = path, .backend = be, .max_pictures = 1, .height = 32, .width = 48, .text_tokens = 16};
    assert_int_equal(ecd_pipeline_open(&options, &p, &diag), ECD_OK);
    const ecd_picture_request request = {.seed = 1};
    const ecd_picture_text text = {hidden, pooled};
    const ecd_draw draw = {
        .pictures = &request, .texts = &text, .count = 1, .steps = 3, .guidance = 3.5f, .sink = look, .user = &kinds};
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_OK);
    assert_true(kinds > 60);
    ecd_pipeline_close(p);
    ecd_texts_close(texts);
    ecd_model_folder_close(&model);
    ecd_backend_close(be);
}

// A picture that differences can show in: no grey sheet, no noise that is clipped to black and white.
static void the_program_draws_with_it(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_backend *be;
    ecd_pipeline *p;
    char path[128];
    int kinds = 0;
    const ecd_backend_options backend = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 2};
    snprintf(path, sizeof path, "%s/tiny", folder);
    assert_int_equal(ecd_backend_open(&backend, &be, &diag), ECD_OK);
    const ecd_pipeline_options options = {.model = path, .backend = be, .max_pictures = 1, .guidance = true};
    assert_int_equal(ecd_pipeline_open(&options, &p, &diag), ECD_OK);
    const ecd_picture_request request = {.class_id = 3, .seed = 1};
    const ecd_draw draw = {.pictures = &request, .count = 1, .steps = 3, .guidance = 4, .sink = look, .user = &kinds};
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_OK);
    assert_true(kinds > 60);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    *(uint64_t *)user = total;
    return done > 0;
}

static void stopping_leaves_nothing(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_tree tree;
    uint64_t total = 0;
    assert_int_equal(ecd_synthetic_make("dit-tiny", inside("none/stopped"), NULL, NULL, &diag), ECD_USAGE);
    assert_int_equal(ecd_synthetic_make("dit-xl-2-512", inside("stopped"), stop_at_once, &total, &diag),
                     ECD_INTERRUPTED);
    assert_int_equal(total, 4 * (UINT64_C(749826464) + 83653863));
    assert_int_equal(ecd_synthetic_make("flux1-dev", inside("stopped"), stop_at_once, &total, &diag), ECD_INTERRUPTED);
    assert_int_equal(ecd_tree_list(folder, &tree, &diag), ECD_OK);
    for (size_t i = 0; i < tree.count; i++)
        assert_null(strstr(tree.entries[i].path, "stopped"));
    ecd_tree_free(&tree);
}

static int set_up(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    return !mkdtemp(folder) || ecd_synthetic_make("dit-tiny", inside("tiny"), NULL, NULL, &diag) ||
           ecd_synthetic_make("flux1-tiny", inside("flux"), NULL, NULL, &diag);
}

static int tear_down(void **state)
{
    (void)state;
    ecd_new_folder_abandon(strdup(folder)); // removes and frees
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_published),       cmocka_unit_test(every_name_is_known),
        cmocka_unit_test(tensors_are_drawn_as_stated),    cmocka_unit_test(the_same_name_gives_the_same_bytes),
        cmocka_unit_test(the_program_draws_with_it),      cmocka_unit_test(stopping_leaves_nothing),
        cmocka_unit_test(flux_counts_are_the_published),  cmocka_unit_test(flux_is_rounded_as_stated),
        cmocka_unit_test(the_program_draws_a_text_with_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
