// The block store over small checkpoints: every mode, any order, damaged containers.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store_model.h"
#include "weights/tree.h"

static void run_in_turn(const model *m, const char *folder, ecd_store_options options, bool resident)
{
    opened o;
    ecd_diag diag = {0};
    assert_int_equal(open_store(folder, options, resident, &o, &diag), ECD_OK);
    for (int step = 0; step < 3 * BLOCKS; step++) {
        ecd_block block;
        assert_int_equal(ecd_store_acquire(o.store, step % BLOCKS, &block, &diag), ECD_OK);
        if (step % 3 == 0)
            usleep((useconds_t)(rand() % 300));
        check_block(m, &o, step % BLOCKS, &block);
        ecd_store_release(o.store, step % BLOCKS);
    }
    ecd_store_report report;
    ecd_store_report_get(o.store, &report);
    assert_int_equal(report.acquires, 3 * BLOCKS);
    assert_true(report.weights_bytes <= report.raw_bytes);
    close_store(&o);
}

static void every_mode(void **state)
{
    const model *m = *state;
    for (int folder = 0; folder < 2; folder++)
        for (int mode = ECD_WEIGHTS_AUTO; mode <= ECD_WEIGHTS_RAW; mode++)
            for (int variant = 0; variant < 4; variant++) {
                ecd_store_options options = {
                    .mode = (ecd_weights_mode)mode, .read_ahead = variant & 1, .check_crc = variant == 3};
                run_in_turn(m, folder ? m->coded : m->raw, options, variant == 1);
            }
}

// ECF8 is lent as it is, and what operations spend decoding it is the store's to report.
static void lends_ecf8(void **state)
{
    const model *m = *state;
    opened o;
    ecd_diag diag = {0};
    ecd_block block;
    ecd_store_report before, after;
    ecd_store_options options = {.mode = ECD_WEIGHTS_ECF8, .read_ahead = true};
    assert_int_equal(open_store(m->raw, options, false, &o, &diag), ECD_OK);
    ecd_store_report_get(o.store, &before);
    assert_int_equal(before.decode_ns, 0);
    assert_true(before.weights_bytes < before.raw_bytes);
    for (int b = 0; b < BLOCKS; b++) {
        assert_int_equal(ecd_store_acquire(o.store, b, &block, &diag), ECD_OK);
        assert_non_null(block.weights[0].coded);
        check_block(m, &o, b, &block);
    }
    ecd_store_report_get(o.store, &after);
    assert_true(after.decode_ns > 0);
    assert_int_equal(after.exposed_ns, 0);
    close_store(&o);
}

// Blocks in any order, several held at once, with delays that shift the two threads against each other.
static void random_order(void **state)
{
    const model *m = *state;
    opened o;
    ecd_diag diag = {0};
    ecd_store_options options = {.read_ahead = true};
    int held[2] = {-1, -1};
    assert_int_equal(open_store(m->coded, options, false, &o, &diag), ECD_OK);
    for (int i = 0; i < 400; i++) {
        ecd_block block;
        int slot = i % 2, b = rand() % BLOCKS;
        if (held[slot] >= 0)
            ecd_store_release(o.store, held[slot]);
        assert_int_equal(ecd_store_acquire(o.store, b, &block, &diag), ECD_OK);
        held[slot] = b;
        if (rand() % 4 == 0)
            usleep((useconds_t)(rand() % 200));
        check_block(m, &o, b, &block);
    }
    close_store(&o);
}

// Flips one bit near the end of block 2's first container, in its coded words.
static void damage(const model *m, char *folder, size_t size)
{
    ecd_diag diag = {0};
    ecd_checkpoint *cp;
    ecd_file file;
    char from[192], to[192];
    snprintf(folder, size, "%s.bad", m->raw);
    snprintf(from, sizeof from, "%s/diffusion_pytorch_model.safetensors", m->coded);
    snprintf(to, sizeof to, "%s/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(ecd_checkpoint_open(m->coded, &cp, &diag), ECD_OK);
    const ecd_tensor *tensor = ecd_checkpoint_find(cp, "blocks.2.a.weight");
    assert_non_null(tensor);
    assert_int_equal(tensor->encoding, ECD_ENCODING_ECF8);
    uint64_t at = tensor->offset_bytes + tensor->size_bytes - tensor->size_bytes / 8;
    ecd_checkpoint_close(cp);
    assert_int_equal(ecd_file_map(from, &file, &diag), ECD_OK);
    uint8_t *copy = malloc(file.size_bytes);
    memcpy(copy, file.data, file.size_bytes);
    copy[at] ^= 4;
    assert_int_equal(ecd_file_write(to, copy, file.size_bytes, &diag), ECD_OK);
    free(copy);
    ecd_file_unmap(&file);
}

static void damaged_block(void **state)
{
    const model *m = *state;
    char folder[96];
    damage(m, folder, sizeof folder);
    for (int ahead = 0; ahead < 2; ahead++) {
        opened o;
        ecd_diag diag = {0};
        ecd_store_options options = {.read_ahead = ahead != 0};
        assert_int_equal(open_store(folder, options, false, &o, &diag), ECD_OK);
        for (int round = 0; round < 2; round++)
            for (int b = 0; b < BLOCKS; b++) {
                ecd_block block;
                uint8_t elements[ROWS * COLS];
                assert_int_equal(ecd_store_acquire(o.store, b, &block, &diag), ECD_OK);
                assert_int_equal(expand_weight(&o, &block.weights[0], elements, &diag), b == 2 ? ECD_DATA : ECD_OK);
                if (b != 2)
                    check_block(m, &o, b, &block);
                ecd_store_release(o.store, b);
            }
        assert_string_equal(diag.tensor, "blocks.2.a.weight");
        assert_non_null(strstr(diag.file, "diffusion_pytorch_model.safetensors"));
        assert_true(diag.has_offset);
        close_store(&o);
    }
    opened o;
    ecd_diag diag = {0};
    ecd_store_options raw = {.mode = ECD_WEIGHTS_RAW};
    assert_int_equal(open_store(folder, raw, false, &o, &diag), ECD_DATA);
    assert_string_equal(diag.tensor, "blocks.2.a.weight");
    close_store(&o);
    ecd_folder_remove(folder);
}

static void refuse(const model *m, const ecd_tensor_spec *spec, const char *expected)
{
    ecd_backend_options backend = {.name = "ref", .threads = 1};
    ecd_store_options options = {0};
    ecd_block_spec block = {.prefix = "blocks.1.", .tensors = spec, .count = 1};
    opened o = {0};
    ecd_diag diag = {0};
    char name[64];
    assert_int_equal(ecd_backend_open(&backend, &o.be, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open(m->raw, &o.cp, &diag), ECD_OK);
    assert_int_equal(ecd_store_open(o.cp, o.be, &block, 1, &options, &o.store, &diag), ECD_DATA);
    snprintf(name, sizeof name, "blocks.1.%s", spec->name);
    assert_string_equal(diag.tensor, name);
    assert_non_null(strstr(diag.file, "diffusion_pytorch_model.safetensors"));
    assert_string_equal(diag.what, expected);
    close_store(&o);
}

static void bad_specs(void **state)
{
    refuse(*state, &(ecd_tensor_spec){.name = "d.weight", .dims = 2, .shape = {2, 3}},
           "tensor is missing, expected shape [2, 3]");
    refuse(*state, &(ecd_tensor_spec){.name = "a.weight", .dims = 2, .shape = {COLS, ROWS}},
           "shape [128, 192], expected [192, 128]");
    refuse(*state, &(ecd_tensor_spec){.name = "b.bias", .kind = ECD_SPEC_VECTOR, .dims = 1, .shape = {ROWS + 1}},
           "shape [128], expected [129]");
    refuse(*state, &(ecd_tensor_spec){.name = "a.weight", .kind = ECD_SPEC_VECTOR, .dims = 2, .shape = {ROWS, COLS}},
           "a vector with scales, expected them on matrices only");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode),    cmocka_unit_test(lends_ecf8), cmocka_unit_test(random_order),
        cmocka_unit_test(damaged_block), cmocka_unit_test(bad_specs),
    };
    return cmocka_run_group_tests(tests, set_up_model, tear_down_model);
}
