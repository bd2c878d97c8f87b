// Single files of other programs as components: every tensor under diffusers' name, the store's way through their fused
// matrices, folders made of them, and what is refused.
#include "tests/unit/compress_to.h"
#include "tests/unit/files.h"
#include "tests/unit/reference.h"
#include "tests/unit/single_file.h"

#include <string.h>
#include <sys/stat.h>

#include "weights/coded.h"
#include "weights/component.h"
#include "weights/store.h"
#include "weights/writer.h"

static const char *const folder = ECD_TEST_DATA "/models/flux_c";
static const char *const bare = ECD_TEST_DATA "/models/flux_single/transformer_only_fp8.safetensors";
static const char *const whole = "component.safetensors";

static const single_options plain = {.scales = SINGLE_PLAIN};

// ---- names and bytes

// Decoded bytes; the caller frees.
static uint8_t *elements_of(const ecd_tensor *t)
{
    size_t size = t->count * ecd_dtype_size(t->dtype);
    uint8_t *out = malloc(size + 1);
    if (t->encoding == ECD_ENCODING_RAW) {
        memcpy(out, t->data, size);
        return out;
    }
    ecd_diag diag = {0};
    ecd_coded coded;
    void *tables = malloc(ECF8_DECODER_MAX_BYTES);
    expect_ok(ecd_coded_open(t, t->data, t->size_bytes, &coded, &diag), &diag);
    expect_ok(ecd_coded_decode(&coded, out, true, tables, ECF8_DECODER_MAX_BYTES, &diag), &diag);
    free(tables);
    return out;
}

// The folder's value as the file's type.
static void same_cast(const ecd_tensor *mine, const ecd_tensor *original)
{
    float *values = malloc(original->count * sizeof *values);
    uint8_t *bytes = elements_of(mine);
    ecd_to_f32(original->dtype, original->data, values, original->count);
    for (uint64_t i = 0; i < original->count; i++) {
        uint32_t bits = 0, cast = 0;
        size_t size = ecd_dtype_size(mine->dtype);
        memcpy(&bits, bytes + i * size, size);
        if (mine->dtype == ECD_F32)
            memcpy(&cast, &values[i], sizeof cast);
        else
            cast = mine->dtype == ECD_BF16 ? ecd_to_bf16(values[i]) : ecd_to_e4m3(values[i]);
        if (bits != cast)
            fail_msg("%s: element %llu is %x, expected %x", mine->name, (unsigned long long)i, bits, cast);
    }
    free(values);
    free(bytes);
}

static void check_component(const char *file, const char *component)
{
    char path[4096], name[300];
    ecd_diag diag = {0};
    ecd_checkpoint *mine = NULL, *original = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, component);
    expect_ok(ecd_checkpoint_open(path, &original, &diag), &diag);
    expect_ok(ecd_component_open(file, component, &mine, &diag), &diag);
    assert_non_null(mine);
    bool clip = !strcmp(component, "text_encoder");
    assert_int_equal(ecd_checkpoint_count(mine), ecd_checkpoint_count(original));
    for (size_t i = 0; i < ecd_checkpoint_count(original); i++) {
        const ecd_tensor *o = ecd_checkpoint_tensor(original, i);
        snprintf(name, sizeof name, "%s%s", clip ? "text_model." : "", o->name);
        const ecd_tensor *m = ecd_checkpoint_find(mine, name);
        if (!m)
            fail_msg("%s: no %s", component, name);
        assert_int_equal(m->dims, o->dims);
        assert_memory_equal(m->shape, o->shape, (size_t)o->dims * sizeof *o->shape);
        assert_int_equal(m->dtype, !strcmp(component, "vae") ? ECD_F32 : m->dtype == ECD_E4M3 ? ECD_E4M3 : ECD_BF16);
        same_cast(m, o);
    }
    ecd_checkpoint_close(mine);
    ecd_checkpoint_close(original);
}

static void test_components(void **state)
{
    (void)state;
    static const char *const components[] = {"transformer", "vae", "text_encoder", "text_encoder_2"};
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    write_single_file(whole, folder, &plain);
    compress_to(whole, "component.coded.safetensors", NULL);
    for (int i = 0; i < 4; i++) {
        check_component(whole, components[i]);
        check_component("component.coded.safetensors", components[i]);
        expect_ok(ecd_component_open(bare, components[i], &cp, &diag), &diag);
        assert_int_equal(cp != NULL, i == 0);
        ecd_checkpoint_close(cp);
    }
    check_component(bare, "transformer");
    static const single_options diffsynth = {.diffsynth = true};
    write_single_file("component.synth.safetensors", folder, &diffsynth);
    compress_to("component.synth.safetensors", "component.synth.coded.safetensors", NULL);
    for (int i = 0; i < 2; i++) {
        check_component("component.synth.safetensors", i ? "text_encoder_2" : "transformer");
        check_component("component.synth.coded.safetensors", i ? "text_encoder_2" : "transformer");
    }
    // Rows are views: nothing is copied where nothing is decoded.
    expect_ok(ecd_component_open(whole, "transformer", &cp, &diag), &diag);
    const ecd_tensor *k = ecd_checkpoint_find(cp, "single_transformer_blocks.1.attn.to_k.weight");
    assert_non_null(k);
    assert_ptr_equal(k->data, ecd_checkpoint_file(cp, 0)->data + k->offset_bytes);
    assert_string_equal(ecd_tensor_own_name(k), "model.diffusion_model.single_blocks.1.linear1.weight");
    ecd_checkpoint_close(cp);
    // Of a container each part has its share of the bytes.
    expect_ok(ecd_component_open("component.coded.safetensors", "transformer", &cp, &diag), &diag);
    uint64_t shares = 0;
    static const char *const parts[] = {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"};
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "single_transformer_blocks.1.%s.weight", parts[i]);
        k = ecd_checkpoint_find(cp, name);
        assert_int_equal(k->encoding, ECD_ENCODING_ECF8);
        shares += ecd_tensor_stored_bytes(k);
    }
    assert_int_equal(shares, k->size_bytes);
    ecd_checkpoint_close(cp);
}

// In the published format: parts of a group's weights, with the shapes that our own files note.
static void test_published(void **state)
{
    (void)state;
    static const single_options kinds[] = {{.bare = true}, {.diffsynth = true}};
    for (int i = 0; i < 2; i++) {
        ecd_diag diag = {0};
        ecd_work_report report;
        const ecd_compress_options options = {.published = true, .threads = 1};
        ecd_folder_remove("component.plain");
        ecd_folder_remove("component.published");
        assert_int_equal(mkdir("component.plain", 0777), 0);
        write_single_file("component.plain/model.safetensors", folder, &kinds[i]);
        expect_ok(ecd_compress("component.plain", "component.published", &options, &report, &diag), &diag);
        assert_true(report.tensors_coded > 0);
        check_component("component.published/model.safetensors", "transformer");
        if (i)
            check_component("component.published/model.safetensors", "text_encoder_2");
        ecd_checkpoint *cp = NULL;
        expect_ok(ecd_component_open("component.published/model.safetensors", "transformer", &cp, &diag), &diag);
        assert_int_equal(ecd_checkpoint_find(cp, "transformer_blocks.1.attn.to_v.weight")->encoding,
                         ECD_ENCODING_PUBLISHED);
        ecd_checkpoint_close(cp);
    }
}

// ---- the store

enum { DEEP = 64, STACK = 4, FUSED = 7 * DEEP, WIDE = 512, PART_ROWS = DEEP };

// single_blocks.i.linear1.weight: trained-like bytes, all different.
static uint8_t *fused_weights(int block)
{
    uint8_t *bytes = malloc(FUSED * WIDE);
    uint32_t seed = 77u + (uint32_t)block;
    for (int i = 0; i < FUSED * WIDE; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t exponent = 7 - (uint32_t)__builtin_ctz(seed >> 8 | 0x40);
        bytes[i] = (uint8_t)((seed >> 30 & 1) << 7 | exponent << 3 | (seed >> 27 & 7));
    }
    return bytes;
}

static void write_fused(const char *path)
{
    ecd_diag diag = {0};
    ecd_tensors_writer writer;
    const int64_t shape[2] = {FUSED, WIDE};
    expect_ok(ecd_tensors_writer_open(path, 4096, NULL, &writer, &diag), &diag);
    for (int i = 0; i < STACK; i++) {
        char name[64];
        uint8_t *bytes = fused_weights(i);
        snprintf(name, sizeof name, "single_blocks.%d.linear1.weight", i);
        expect_ok(ecd_tensors_writer_add(&writer, name, ECD_E4M3, shape, 2, bytes, FUSED * WIDE, &diag), &diag);
        free(bytes);
    }
    expect_ok(ecd_tensors_writer_commit(&writer, &diag), &diag);
}

static ecd_status open_fused(const ecd_checkpoint *cp, ecd_backend *be, uint64_t budget, uint64_t *least,
                             ecd_store **out)
{
    ecd_diag diag = {0};
    char prefixes[STACK][64];
    ecd_block_spec blocks[STACK];
    const ecd_tensor_spec tensors[] = {
        ecd_spec_matrix("attn.to_q.weight", PART_ROWS, WIDE), ecd_spec_matrix("attn.to_k.weight", PART_ROWS, WIDE),
        ecd_spec_matrix("attn.to_v.weight", PART_ROWS, WIDE), ecd_spec_matrix("proj_mlp.weight", 4 * PART_ROWS, WIDE)};
    for (int i = 0; i < STACK; i++) {
        snprintf(prefixes[i], sizeof prefixes[i], "single_transformer_blocks.%d.", i);
        blocks[i] = (ecd_block_spec){.prefix = prefixes[i], .tensors = tensors, .count = 4};
    }
    const ecd_store_options options = {.read_ahead = true,
                                       .budget_bytes = budget,
                                       .outside_bytes = 1000,
                                       .rows = 16,
                                       .rates_file = "test_component_rates.json",
                                       .least_bytes = least};
    return ecd_store_open(cp, be, blocks, STACK, &options, out, &diag);
}

// Whatever the budget the parts are the rows; a container that is streamed is read once for all its parts.
static void sweep_budgets(const char *path, ecd_encoding encoding)
{
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    ecd_backend *be = NULL;
    ecd_store *store = NULL;
    const ecd_backend_options backend = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 1};
    uint64_t least = 0, all = 1 << 30;
    int seen[ECD_BLOCK_KINDS] = {0};
    uint8_t *elements = malloc(4 * PART_ROWS * WIDE);
    expect_ok(ecd_backend_open(&backend, &be, &diag), &diag);
    expect_ok(ecd_component_open(path, "transformer", &cp, &diag), &diag);
    assert_int_equal(ecd_checkpoint_tensor(cp, 0)->encoding, encoding);
    assert_int_equal(open_fused(cp, be, 1, &least, &store), ECD_RESOURCE);
    ecd_store_close(store);
    for (int i = 0; i <= 8; i++) {
        ecd_store_report report;
        assert_int_equal(open_fused(cp, be, least + (all - least) * (uint64_t)i / 8, NULL, &store), ECD_OK);
        for (int step = 0; step < 3 * STACK; step++) {
            ecd_block block;
            uint8_t *bytes = fused_weights(step % STACK);
            expect_ok(ecd_store_acquire(store, step % STACK, &block, &diag), &diag);
            for (int part = 0; part < 4; part++) {
                size_t size = (size_t)(part < 3 ? 1 : 4) * PART_ROWS * WIDE;
                be->ops->expand(be, &block.weights[part], elements);
                expect_ok(ecd_backend_check(be, &diag), &diag);
                assert_memory_equal(elements, bytes + part * PART_ROWS * WIDE, size);
            }
            ecd_store_release(store, step % STACK);
            free(bytes);
        }
        ecd_store_report_get(store, &report);
        for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
            seen[kind] += report.plan.counts[kind];
        uint64_t streamed = (uint64_t)report.plan.counts[ECD_BLOCK_STREAMED];
        if (encoding == ECD_ENCODING_ECF8) // read ahead may have begun a pass that nobody waited for
            assert_true(report.read_bytes <= 4 * streamed * (ecd_checkpoint_tensor(cp, 0)->size_bytes + 8192));
        if (i == 0)
            all = report.planned_bytes + FUSED * WIDE * 2 * STACK;
        ecd_store_close(store);
    }
    assert_true(seen[ECD_BLOCK_STREAMED] && seen[ECD_BLOCK_READY]);
    free(elements);
    ecd_checkpoint_close(cp);
    ecd_backend_close(be);
}

static void test_store(void **state)
{
    (void)state;
    write_fused("component.fused.safetensors");
    compress_to("component.fused.safetensors", "component.fused.coded.safetensors", NULL);
    sweep_budgets("component.fused.safetensors", ECD_ENCODING_RAW);
    sweep_budgets("component.fused.coded.safetensors", ECD_ENCODING_ECF8);
}

// A bit of the container is wrong: whoever decodes rows of the tile to its end says so, by the file's own name.
static void test_bad_container(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    expect_ok(ecd_component_open("component.fused.coded.safetensors", "transformer", &cp, &diag), &diag);
    const ecd_tensor *mlp = ecd_checkpoint_find(cp, "single_transformer_blocks.2.proj_mlp.weight");
    uint64_t at = mlp->offset_bytes + mlp->size_bytes / 2;
    ecd_checkpoint_close(cp);
    FILE *file = fopen("component.fused.coded.safetensors", "r+b");
    fseek(file, (long)at, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, (long)at, SEEK_SET);
    fputc(byte ^ 4, file);
    fclose(file);
    ecd_backend *be = NULL;
    ecd_store *store = NULL;
    ecd_block block;
    const ecd_backend_options backend = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 1};
    expect_ok(ecd_backend_open(&backend, &be, &diag), &diag);
    expect_ok(ecd_component_open("component.fused.coded.safetensors", "transformer", &cp, &diag), &diag);
    assert_int_equal(open_fused(cp, be, 1 << 30, NULL, &store), ECD_OK);
    expect_ok(ecd_store_acquire(store, 1, &block, &diag), &diag);
    ecd_store_release(store, 1);
    assert_int_equal(ecd_store_acquire(store, 2, &block, &diag), ECD_DATA);
    assert_string_equal(diag.tensor, "single_blocks.2.linear1.weight");
    ecd_store_close(store);
    ecd_checkpoint_close(cp);
    ecd_backend_close(be);
    ecd_work_report report;
    ecd_folder_remove("component.bad");
    const ecd_compress_options with = {.config = folder, .threads = 2};
    assert_int_equal(ecd_compress("component.fused.coded.safetensors", "component.bad", &with, &report, &diag),
                     ECD_DATA);
    assert_string_equal(diag.tensor, "single_blocks.2.linear1.weight");
    assert_false(ecd_path_exists("component.bad"));
}

// ---- folders made of a file

static void test_folder(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    const ecd_compress_options options = {.threads = 2};
    static const char *const files[] = {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
                                        "tokenizer/merges.txt", "tokenizer_2/tokenizer.json"};
    write_single_file(whole, folder, &plain);
    compress_to(whole, "component.folder", folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char a[4096], b[4096];
        snprintf(a, sizeof a, "%s/%s", folder, files[i]);
        snprintf(b, sizeof b, "component.folder/%s", files[i]);
        same_file(a, b);
    }
    assert_false(ecd_path_exists("component.folder/transformer/diffusion_pytorch_model.safetensors.index.json"));
    // The file against the folder, either first, and against the folder decompressed.
    expect_ok(ecd_verify(whole, "component.folder", &options, &report, &diag), &diag);
    assert_int_equal(report.files, 4);
    expect_ok(ecd_verify("component.folder", whole, &options, &report, &diag), &diag);
    ecd_folder_remove("component.back");
    expect_ok(ecd_decompress("component.folder", "component.back", &options, &report, &diag), &diag);
    expect_ok(ecd_verify(whole, "component.back", &options, &report, &diag), &diag);
    expect_ok(ecd_verify("component.folder", "component.back", &options, &report, &diag), &diag);
    // The transformer alone: the rest is the folder's, in its own type.
    compress_to(bare, "component.bare", folder);
    expect_ok(ecd_verify(bare, "component.bare", &options, &report, &diag), &diag);
    assert_int_equal(report.files, 1);
    expect_ok(ecd_verify("component.folder/vae", "component.bare/vae", &options, &report, &diag), &diag);
    assert_int_equal(ecd_verify(whole, "component.bare", &options, &report, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "missing"));
    // Not these.
    const ecd_compress_options published = {.config = folder, .published = true};
    assert_int_equal(ecd_compress(bare, "component.new", &published, &report, &diag), ECD_USAGE);
    const ecd_compress_options two = {.config = folder};
    assert_int_equal(ecd_compress(folder, "component.new", &two, &report, &diag), ECD_USAGE);
    const ecd_compress_options bad = {.config = ECD_TEST_DATA "/models/dit_b"};
    assert_int_equal(ecd_compress(whole, "component.new", &bad, &report, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "holds a text_encoder"));
    assert_false(ecd_path_exists("component.new"));
}

// ---- what is refused

// Rows whose blocks of scales can be parted, and rows whose cannot.
static void test_parted_scales(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    single_tensor tensors[] = {
        {"double_blocks.0.img_attn.qkv.weight", 3 * 256, 4},
        {"double_blocks.0.img_attn.qkv.weight_scale_inv", 6, 1},
    };
    write_odd_file("odd.safetensors", tensors, 2);
    // Their type is no FP8, so that they are refused as scales: what is looked at is which rows they were given.
    assert_int_equal(ecd_component_open("odd.safetensors", "transformer", &cp, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "as transformer_blocks.0.attn.to_q.weight_scale_inv"));
    assert_string_equal(diag.tensor, "double_blocks.0.img_attn.qkv.weight_scale_inv");
    tensors[0].rows = 3 * 192;
    tensors[1].rows = 5;
    write_odd_file("odd.safetensors", tensors, 2);
    assert_int_equal(ecd_component_open("odd.safetensors", "transformer", &cp, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "rows 192 to 383 begin within one"));
    // What else is said of a module stays whole.
    tensors[1] = (single_tensor){"double_blocks.0.img_attn.qkv.comfy_quant", 5, 0};
    write_odd_file("odd.safetensors", tensors, 2);
    expect_ok(ecd_component_open("odd.safetensors", "transformer", &cp, &diag), &diag);
    assert_int_equal(ecd_checkpoint_find(cp, "transformer_blocks.0.attn.to_k.comfy_quant")->count, 5);
    ecd_checkpoint_close(cp);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        single_tensor tensors[3];
        int count;
        const char *component, *says, *tensor;
    } bad[] = {
        {{{"double_blocks.0.img_attn.qkv.weight", 95, 32}},
         1,
         "transformer",
         "95 rows, expected a multiple of 3",
         "double_blocks.0.img_attn.qkv.weight"},
        {{{"model.diffusion_model.single_blocks.7.linear1.weight", 30, 4}},
         1,
         "transformer",
         "30 rows, expected a multiple of 7",
         "model.diffusion_model.single_blocks.7.linear1.weight"},
        {{{"single_blocks.0.linear1.weight", 14, 4}, {"single_blocks.0.linear1.bias", 21, 0}},
         2,
         "transformer",
         "shape [21], expected one value, or 14 rows",
         "single_blocks.0.linear1.bias"},
        {{{"single_blocks.0.linear2.bias", 4, 0}, {"final_layer.adaLN_modulation.1.bias", 5, 0}},
         2,
         "transformer",
         "5 rows, whose halves",
         "final_layer.adaLN_modulation.1.bias"},
        {{{"double_blocks.0.img_attn.qkv.bias", 6, 0}, {"transformer_blocks.0.attn.to_k.bias", 2, 0}},
         2,
         "transformer",
         "second tensor of this name",
         "transformer_blocks.0.attn.to_k.bias"},
        {{{"double_blocks.0.img_mlp.0.bias", 6, 0}, {"model.diffusion_model.double_blocks.0.img_mlp.0.bias", 6, 0}},
         2,
         "transformer",
         "second transformer",
         "double_blocks.0.img_mlp.0.bias"},
        {{{"decoder.conv_in.bias", 4, 0},
          {"decoder.up.1.block.0.norm1.bias", 4, 0},
          {"decoder.up_blocks.0.resnets.0.norm1.bias", 4, 0}},
         3,
         "vae",
         "second tensor of this name",
         "decoder.up_blocks.0.resnets.0.norm1.bias"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ecd_diag diag = {0};
        ecd_checkpoint *cp = NULL;
        write_odd_file("odd.safetensors", bad[i].tensors, bad[i].count);
        assert_int_equal(ecd_component_open("odd.safetensors", bad[i].component, &cp, &diag), ECD_DATA);
        assert_null(cp);
        if (!strstr(diag.what, bad[i].says) || strcmp(diag.tensor, bad[i].tensor))
            fail_msg("case %zu: tensor %s: %s", i, diag.tensor, diag.what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_components),    cmocka_unit_test(test_published), cmocka_unit_test(test_store),
        cmocka_unit_test(test_bad_container), cmocka_unit_test(test_folder),    cmocka_unit_test(test_parted_scales),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
