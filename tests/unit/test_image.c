// Picture files: what is written can be read, what is broken is refused, what fails leaves nothing behind.
#include <cmocka.h>

#include "app/sheet.h"
#include "base/file.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WIDTH = 37, HEIGHT = 21 };
static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "test_image.XXXXXX");
    return !mkdtemp(folder);
}

static size_t files_in_folder(void)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder); // fails where a test left a file behind
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void fill(uint8_t *rgb, size_t count)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < count; i++)
        rgb[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void png_round_trip(void **state)
{
    (void)state;
    uint8_t rgb[WIDTH * HEIGHT * 3];
    fill(rgb, sizeof rgb);
    char key1[] = "ecdit", value1[] = "{\"seed\": 7}\nsecond line", key2[] = "Title",
         value2[] = "\xe5\xad\x94\xe9\x9b\x80 \xc3\xa9";
    ecd_image_text texts[] = {{key1, value1}, {key2, value2}};
    ecd_diag diag = {0};
    const char *path = path_of("a.PNG");
    assert_int_equal(ecd_image_write(path, rgb, WIDTH, HEIGHT, texts, 2, &diag), ECD_OK);
    ecd_image image;
    ecd_image_texts read;
    assert_int_equal(ecd_image_read_png(path, &image, &read, &diag), ECD_OK);
    assert_int_equal(image.width, WIDTH);
    assert_int_equal(image.height, HEIGHT);
    assert_memory_equal(image.pixels, rgb, sizeof rgb);
    assert_string_equal(ecd_image_texts_find(&read, "ecdit"), value1);
    assert_string_equal(ecd_image_texts_find(&read, "Title"), value2);
    assert_null(ecd_image_texts_find(&read, "none"));
    ecd_image_free(&image);
    ecd_image_texts_free(&read);
    unlink(path);
}

// Every cut and every flipped byte of a file: an error, or for bytes that carry no meaning a picture; never a crash.
static void broken_png(void **state)
{
    (void)state;
    uint8_t rgb[4 * 3 * 3];
    fill(rgb, sizeof rgb);
    char key[] = "k", value[] = "\xc3\xa9";
    ecd_image_text text = {key, value};
    ecd_diag diag = {0};
    char path[128];
    snprintf(path, sizeof path, "%s", path_of("a.png"));
    assert_int_equal(ecd_image_write(path, rgb, 4, 3, &text, 1, &diag), ECD_OK);
    char *data;
    size_t size;
    assert_int_equal(ecd_file_read_text(path, 1 << 20, &data, &size, &diag), ECD_OK);
    ecd_image image;
    ecd_image_texts texts;
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(ecd_file_write(path, data, cut, &diag), ECD_OK);
        assert_int_equal(ecd_image_read_png(path, &image, &texts, &diag), ECD_DATA);
        assert_string_equal(diag.file, path);
        assert_null(image.pixels);
        assert_null(texts.items);
    }
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x41;
        assert_int_equal(ecd_file_write(path, data, size, &diag), ECD_OK);
        assert_int_equal(ecd_image_read_png(path, &image, &texts, &diag), ECD_DATA);
        data[i] ^= 0x41;
    }
    free(data);
    unlink(path);
}

// A header that claims 16384 x 16384 pixels in a file of a few bytes must not cost 800 MB.
static void lying_png(void **state)
{
    (void)state;
    static const uint8_t bomb[] = {0x89, 'P',  'N',  'G',  13, 10, 26, 10,   0,   0,   0,   13,   'I',  'H', 'D',
                                   'R',  0,    0,    0x40, 0,  0,  0,  0x40, 0,   8,   2,   0,    0,    0,   0x26,
                                   0xaa, 0x87, 0xd3, 0,    0,  0,  0,  'I',  'D', 'A', 'T', 0x35, 0xaf, 6,   0x1e};
    const char *path = path_of("bomb.png");
    ecd_diag diag = {0};
    ecd_image image;
    assert_int_equal(ecd_file_write(path, bomb, sizeof bomb, &diag), ECD_OK);
    assert_int_equal(ecd_image_read_png(path, &image, NULL, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "cannot come from"));
    assert_null(image.pixels);
    unlink(path);
}

static void other_formats(void **state)
{
    (void)state;
    uint8_t rgb[WIDTH * HEIGHT * 3];
    fill(rgb, sizeof rgb);
    static const struct {
        const char *name;
        const char *start;
        size_t length;
    } formats[] = {
        {"a.jpg", "\xff\xd8\xff", 3}, {"b.jpeg", "\xff\xd8\xff", 3}, {"c.bmp", "BM", 2}, {"d.tga", "\0\0\x0a", 3}};
    for (size_t i = 0; i < 4; i++) {
        ecd_diag diag = {0};
        const char *path = path_of(formats[i].name);
        assert_int_equal(ecd_image_write(path, rgb, WIDTH, HEIGHT, NULL, 0, &diag), ECD_OK);
        char *data;
        size_t size;
        assert_int_equal(ecd_file_read_text(path, 1 << 20, &data, &size, &diag), ECD_OK);
        assert_true(size > 100);
        assert_memory_equal(data, formats[i].start, formats[i].length);
        free(data);
        unlink(path);
    }
}

static void refused(void **state)
{
    (void)state;
    uint8_t rgb[3] = {0};
    ecd_diag diag = {0};
    assert_int_equal(ecd_image_write(path_of("a.gif"), rgb, 1, 1, NULL, 0, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, ".jpeg"));
    assert_int_equal(ecd_image_write(path_of("png"), rgb, 1, 1, NULL, 0, &diag), ECD_USAGE);
    assert_int_equal(ecd_image_write(path_of("a.png"), rgb, 0, 1, NULL, 0, &diag), ECD_USAGE);
    assert_int_equal(ecd_image_write(path_of("none/a.png"), rgb, 1, 1, NULL, 0, &diag), ECD_USAGE);
    char key[] = " x", value[] = "";
    ecd_image_text text = {key, value};
    assert_int_equal(ecd_image_write(path_of("a.png"), rgb, 1, 1, &text, 1, &diag), ECD_USAGE);
    assert_int_equal(files_in_folder(), 0);
}

// A limit on file sizes stands for the full disk: write() fails half-way.
static void no_room(void **state)
{
    (void)state;
    size_t size = 1024 * 1024 * 3;
    uint8_t *rgb = malloc(size);
    assert_non_null(rgb);
    fill(rgb, size);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 1 << 16;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    ecd_diag diag[3] = {0};
    ecd_status png = ecd_image_write(path_of("a.png"), rgb, 1024, 1024, NULL, 0, &diag[0]);
    ecd_status jpg = ecd_image_write(path_of("a.jpg"), rgb, 1024, 1024, NULL, 0, &diag[1]);
    ecd_status bmp = ecd_image_write(path_of("a.bmp"), rgb, 1024, 1024, NULL, 0, &diag[2]);
    setrlimit(RLIMIT_FSIZE, &before);
    free(rgb);
    assert_int_equal(png, ECD_RESOURCE);
    assert_int_equal(jpg, ECD_RESOURCE);
    assert_int_equal(bmp, ECD_RESOURCE);
    assert_int_equal(files_in_folder(), 0);
}

static void sheet(void **state)
{
    (void)state;
    ecd_sheet s;
    ecd_diag diag = {0};
    assert_int_equal(ecd_sheet_new(5, 8, 6, &s, &diag), ECD_OK);
    assert_int_equal(s.columns, 3);
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.image.width, 3 * 12 + 4);
    assert_int_equal(s.image.height, 2 * 10 + 4);
    uint8_t black[8 * 6 * 3] = {0};
    ecd_sheet_put(&s, 4, black);
    for (int64_t y = 0; y < s.image.height; y++)
        for (int64_t x = 0; x < s.image.width; x++) {
            bool inside = x >= 16 && x < 24 && y >= 14 && y < 20;
            assert_int_equal(s.image.pixels[(y * s.image.width + x) * 3], inside ? 0 : 255);
        }
    ecd_sheet_free(&s);
    assert_int_equal(ecd_sheet_new(0, 8, 6, &s, &diag), ECD_USAGE);
    assert_int_equal(ecd_sheet_new(1000, 32768, 32768, &s, &diag), ECD_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(png_round_trip), cmocka_unit_test(broken_png),
                                       cmocka_unit_test(lying_png),      cmocka_unit_test(other_formats),
                                       cmocka_unit_test(refused),        cmocka_unit_test(no_room),
                                       cmocka_unit_test(sheet)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
