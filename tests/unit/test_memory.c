// Room in cgroups of both versions, from copies of /proc and /sys; and reading files past the page cache.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/direct_file.h"
#include "base/memory.h"

#define MB ((uint64_t)1 << 20)

typedef struct place {
    char root[64];
} place;

// A file below the root, with the folders above it.
static void put(const place *p, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", p->root, path);
    for (char *slash = strchr(full + strlen(p->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(full, 0777);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static place machine(const char *cgroups)
{
    place p = {"test_memory_XXXXXX"};
    assert_non_null(mkdtemp(p.root));
    put(&p, "proc/meminfo", "MemTotal: 9000000 kB\nMemFree: 1000 kB\nMemAvailable: 2048000 kB\n");
    put(&p, "proc/self/cgroup", cgroups);
    return p;
}

static void expect(place *p, uint64_t room)
{
    char command[128];
    assert_int_equal(ecd_memory_free_below(p->root), room);
    snprintf(command, sizeof command, "rm -r %s", p->root);
    assert_int_equal(system(command), 0);
}

static void no_cgroup(void **state)
{
    (void)state;
    place p = machine("0::/\n");
    expect(&p, 2000 * MB);
    p = machine("");
    expect(&p, 2000 * MB);
    p = machine("nonsense\n::\n4:memory\n");
    expect(&p, 2000 * MB);
}

static void version_2(void **state)
{
    (void)state;
    place p = machine("0::/user.slice/job\n");
    put(&p, "sys/fs/cgroup/user.slice/job/memory.max", "max\n");
    put(&p, "sys/fs/cgroup/user.slice/job/memory.current", "1048576\n");
    put(&p, "sys/fs/cgroup/user.slice/memory.max", "104857600\n"); // the level above limits
    put(&p, "sys/fs/cgroup/user.slice/memory.current", "52428800\n");
    put(&p, "sys/fs/cgroup/user.slice/memory.stat", "anon 5\ninactive_file 10485760\nactive_file 4194304\n");
    expect(&p, (100 - 50 + 10 + 2) * MB);
}

// In a container the path is often that of the host, and only the mount's own root is there.
static void version_2_unmounted_path(void **state)
{
    (void)state;
    place p = machine("0::/docker/0123\n");
    put(&p, "sys/fs/cgroup/memory.max", "20971520\n");
    put(&p, "sys/fs/cgroup/memory.current", "31457280\n");
    expect(&p, 0); // already above the limit
}

static void version_1(void **state)
{
    (void)state;
    place p = machine("5:cpu,cpuacct:/x\n4:hugetlb,memory:/a/b\n0::/\n");
    put(&p, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); // none
    put(&p, "sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n");
    put(&p, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "67108864\n");
    put(&p, "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "4194304\n");
    put(&p, "sys/fs/cgroup/memory/a/b/memory.stat", "inactive_file 99\ntotal_inactive_file 1048576\n");
    expect(&p, 61 * MB);
}

static void this_machine(void **state)
{
    (void)state;
    assert_true(ecd_memory_free_bytes() > MB);
    uint64_t before = ecd_rss_bytes();
    char *volatile memory = malloc(32 * MB); // volatile: it must not be left out
    assert_non_null(memory);
    memset(memory, 1, 32 * MB);
    assert_in_range(ecd_rss_bytes(), before + 31 * MB, before + 40 * MB);
    free(memory);
    assert_true(ecd_peak_rss_bytes() >= before + 31 * MB);
}

enum { FILE_SIZE = 3 * ECD_DIRECT_ALIGN + 777 };

static void check_file(const char *path)
{
    ecd_diag diag = {0};
    ecd_direct_file file;
    uint8_t *memory = aligned_alloc(ECD_DIRECT_ALIGN, 4 * ECD_DIRECT_ALIGN), content[FILE_SIZE];
    FILE *out = fopen(path, "w");
    for (int i = 0; i < FILE_SIZE; i++)
        content[i] = (uint8_t)(i * 7 + i / 251);
    fwrite(content, 1, FILE_SIZE, out);
    fclose(out);
    assert_int_equal(ecd_direct_open(path, FILE_SIZE + 1, &file, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "has changed"));
    assert_int_equal(ecd_direct_open(path, FILE_SIZE, &file, &diag), ECD_OK);
    for (uint64_t offset = 0; offset < FILE_SIZE; offset += 501)
        for (uint64_t size = 0; offset + size <= FILE_SIZE; size += 997) {
            assert_true(ecd_direct_room(offset, size) <= 4 * ECD_DIRECT_ALIGN);
            assert_int_equal(ecd_direct_read(&file, offset, size, memory, &diag), ECD_OK);
            assert_memory_equal(memory + offset % ECD_DIRECT_ALIGN, content + offset, size);
        }
    assert_int_equal(ecd_direct_read(&file, 0, FILE_SIZE, memory, &diag), ECD_OK);
    assert_memory_equal(memory, content, FILE_SIZE);
    assert_int_equal(truncate(path, 2 * ECD_DIRECT_ALIGN + 5), 0); // while it is being read
    assert_int_equal(ecd_direct_read(&file, 100, FILE_SIZE - 100, memory, &diag), ECD_DATA);
    assert_string_equal(diag.file, path);
    assert_true(diag.has_offset && diag.offset_bytes == 2 * ECD_DIRECT_ALIGN + 5);
    ecd_direct_close(&file);
    ecd_direct_close(&file);
    free(memory);
    unlink(path);
    assert_int_equal(ecd_direct_open(path, FILE_SIZE, &file, &diag), ECD_USAGE);
}

static void direct_files(void **state)
{
    (void)state;
    check_file("test_memory.bin");
    if (access("/dev/shm", W_OK) == 0) { // a file system that may refuse O_DIRECT
        char path[64];
        snprintf(path, sizeof path, "/dev/shm/test_memory.%d", (int)getpid());
        check_file(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cgroup), cmocka_unit_test(version_2),    cmocka_unit_test(version_2_unmounted_path),
        cmocka_unit_test(version_1), cmocka_unit_test(this_machine), cmocka_unit_test(direct_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
