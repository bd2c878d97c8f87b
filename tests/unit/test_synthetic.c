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

static void every_name_is_known(void **state)
{
    (void)state;
    for (const char *const *name = ecd_synthetic_names; *name; name++)
        assert_non_null(ecd_synthetic_find(*name));
    ecd_diag diag = {0};
    assert_int_equal(ecd_synthetic_make("dit-xxl", inside("xxl"), NULL, NULL, &diag), ECD_USAGE);
    assert_false(ecd_path_exists(inside("xxl")));
}

static double deviation(const float *x, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)count);
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
    ecd_diag diag = {0};
    char first[128], second[128];
    assert_int_equal(ecd_synthetic_make("dit-tiny", inside("again"), NULL, NULL, &diag), ECD_OK);
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

// A picture that differences can show in: no grey sheet, no noise that is clipped to black and white.
static void the_program_draws_with_it(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_backend *be;
    ecd_pipeline *p;
    char path[128];
    int kinds = 0;
    const ecd_backend_options backend = {"cpu", ECD_COMPUTE_F32, 2};
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
    assert_int_equal(ecd_tree_list(folder, &tree, &diag), ECD_OK);
    for (size_t i = 0; i < tree.count; i++)
        assert_null(strstr(tree.entries[i].path, "stopped"));
    ecd_tree_free(&tree);
}

static int set_up(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    return !mkdtemp(folder) || ecd_synthetic_make("dit-tiny", inside("tiny"), NULL, NULL, &diag);
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
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
