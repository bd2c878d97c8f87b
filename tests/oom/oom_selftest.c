// The helper sees what it is there to see: each kind of fault, made on purpose, is found.
#define _GNU_SOURCE
#include <cmocka.h>

#include "base/file.h"
#include "oom/oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum fault { NO_FAULT, LEAK, NO_CHECK, WRONG_STATUS, NO_DIAGNOSIS, OPEN_FILE, MAPPING };

static ecd_status two_blocks(void *user, ecd_diag *diag)
{
    const enum fault *fault = user;
    ecd_status status = ECD_OK;
    char *first = malloc(10), *second = NULL;
    if (!first) {
        if (*fault == NO_DIAGNOSIS)
            return ECD_RESOURCE;
        return ecd_fail_memory(diag, 10, "the first block");
    }
    second = strdup("abc");
    if (!second) {
        status = ecd_fail(diag, *fault == WRONG_STATUS ? ECD_DATA : ECD_RESOURCE, "out of memory");
        if (*fault == LEAK)
            return status;
        if (*fault == OPEN_FILE && open("/proc/self/stat", O_RDONLY) < 0)
            abort();
        if (*fault == MAPPING && mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            abort();
    }
    free(first);
    free(second);
    return status;
}

static void check_found(enum fault fault, const char *expected)
{
    ecd_oom_result result;
    ecd_oom_run(two_blocks, &fault, 100, &result);
    if (!strstr(result.fault, expected))
        fail_msg("expected '%s', got '%s'", expected, result.fault);
}

static void finds_faults(void **cmocka)
{
    (void)cmocka;
    check_found(LEAK, "allocation 2 of it failing: blocks are not freed");
    check_found(WRONG_STATUS, "the status is not ECD_RESOURCE");
    check_found(NO_DIAGNOSIS, "allocation 1 of it failing: the diagnosis is empty");
    check_found(OPEN_FILE, "files are left open");
    check_found(MAPPING, "mappings are left");
}

static void counts_allocations(void **cmocka)
{
    (void)cmocka;
    enum fault none = NO_FAULT;
    ecd_oom_result result;
    ecd_oom_run(two_blocks, &none, 100, &result);
    assert_string_equal(result.fault, "");
    assert_int_equal(result.runs, 2);
    assert_int_equal(result.allocations, 2);
}

static ecd_status many_blocks(void *user, ecd_diag *diag)
{
    void *blocks[500] = {NULL};
    ecd_status status = ECD_OK;
    (void)user;
    for (int i = 0; i < 500 && !status; i++)
        if (!(blocks[i] = i % 2 ? calloc(1, 1) : realloc(malloc(3), 100)))
            status = ecd_fail_memory(diag, 1, "a block");
    for (int i = 0; i < 500; i++)
        free(blocks[i]);
    return status;
}

static void spreads_failures(void **cmocka)
{
    (void)cmocka;
    ecd_oom_result result;
    ecd_oom_run(many_blocks, NULL, 1000, &result);
    assert_non_null(strstr(result.fault, "blocks are not freed")); // realloc's failure leaves the old block
    assert_non_null(strstr(result.fault, "allocation 2 of it"));
}

// The file writer of base/, written for real: nothing is left behind in the folder either.
static ecd_status write_and_read(void *user, ecd_diag *diag)
{
    const char *path = user;
    char *text = NULL;
    size_t size = 0;
    ecd_status status = ecd_file_write(path, "content", 7, diag);
    if (!status)
        status = ecd_file_read_text(path, 100, &text, &size, diag);
    if (!status && (size != 7 || strcmp(text, "content")))
        status = ecd_fail(diag, ECD_DATA, "read back something else");
    free(text);
    return status;
}

static void base_files(void **cmocka)
{
    (void)cmocka;
    char folder[] = "oom-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = ecd_path_join(folder, "file");
    ecd_oom_result result;
    ecd_oom_run(write_and_read, path, 1000, &result);
    assert_string_equal(result.fault, "");
    assert_true(result.runs >= 5);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); // fails if a temporary file is left
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_faults),
        cmocka_unit_test(counts_allocations),
        cmocka_unit_test(spreads_failures),
        cmocka_unit_test(base_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
