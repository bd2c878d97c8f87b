// The terminal preview: which protocol, and what is written.
#include <cmocka.h>

#include "app/preview.h"

#include <stdlib.h>
#include <string.h>

static char *shown(ecd_preview_kind kind, const uint8_t *rgb, int64_t width, int64_t height, int columns)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    ecd_diag diag = {0};
    assert_int_equal(ecd_preview_show(file, kind, rgb, width, height, columns, &diag), ECD_OK);
    long size = ftell(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

static void choice(void **state)
{
    (void)state;
    assert_int_equal(ecd_preview_choose(NULL, NULL, NULL), ECD_PREVIEW_NONE);
    assert_int_equal(ecd_preview_choose("dumb", NULL, "1"), ECD_PREVIEW_NONE);
    assert_int_equal(ecd_preview_choose("xterm-kitty", NULL, NULL), ECD_PREVIEW_KITTY);
    assert_int_equal(ecd_preview_choose("xterm-256color", NULL, "3"), ECD_PREVIEW_KITTY);
    assert_int_equal(ecd_preview_choose("tmux-256color", NULL, "3"), ECD_PREVIEW_HALF_BLOCKS);
    assert_int_equal(ecd_preview_choose("foot", NULL, NULL), ECD_PREVIEW_SIXEL);
    assert_int_equal(ecd_preview_choose("xterm-256color", "iTerm.app", NULL), ECD_PREVIEW_SIXEL);
    assert_int_equal(ecd_preview_choose("xterm-256color", NULL, NULL), ECD_PREVIEW_HALF_BLOCKS);
}

static const uint8_t two_by_two[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7};

static void kitty(void **state)
{
    (void)state;
    char *text = shown(ECD_PREVIEW_KITTY, two_by_two, 2, 2, 0);
    assert_string_equal(text, "\033_Ga=T,f=24,q=2,s=2,v=2,m=0;/wAAAP8AAAD/CQgH\033\\\n");
    free(text);
    uint8_t *rgb = calloc(64 * 64, 3); // 16384 characters: four pieces
    text = shown(ECD_PREVIEW_KITTY, rgb, 64, 64, 0);
    int pieces = 0;
    for (const char *at = text; (at = strstr(at, "\033_G")); at++)
        pieces++;
    assert_int_equal(pieces, 4);
    assert_non_null(strstr(text, "\033_Gm=0;"));
    free(text);
    free(rgb);
}

static void half_blocks(void **state)
{
    (void)state;
    char *text = shown(ECD_PREVIEW_HALF_BLOCKS, two_by_two, 2, 2, 0);
    assert_string_equal(text, "\033[38;2;255;0;0m\033[48;2;0;0;255m\xe2\x96\x80"
                              "\033[38;2;0;255;0m\033[48;2;9;8;7m\xe2\x96\x80\033[0m\n");
    free(text);
    text = shown(ECD_PREVIEW_HALF_BLOCKS, two_by_two, 2, 2, 1); // one cell: the mean, no lower half
    assert_string_equal(text, "\033[38;2;66;66;66m\xe2\x96\x80\033[0m\n");
    free(text);
}

static void sixel(void **state)
{
    (void)state;
    uint8_t red[4 * 7 * 3] = {0};
    for (int i = 0; i < 4 * 7; i++)
        red[3 * i] = 255;
    char *text = shown(ECD_PREVIEW_SIXEL, red, 4, 7, 0);
    assert_int_equal(strncmp(text, "\033Pq\"1;1;4;7#0;2;0;0;0", 21), 0);
    assert_non_null(strstr(text, "#180;2;100;0;0"));
    // Six rows of red (63 + 63 = '~'), then one ('@'), four columns each.
    assert_non_null(strstr(text, "#180!4~-#180!4@-\033\\\n"));
    free(text);
}

static void failures(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    assert_int_equal(ecd_preview_show(stdout, ECD_PREVIEW_NONE, two_by_two, 2, 2, 0, &diag), ECD_USAGE);
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(ecd_preview_show(full, ECD_PREVIEW_KITTY, two_by_two, 2, 2, 0, &diag), ECD_RESOURCE);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choice), cmocka_unit_test(kitty), cmocka_unit_test(half_blocks),
                                       cmocka_unit_test(sixel), cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
