// Sampler steps and picture bytes: every backend and level gives the bits of ref.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

enum { OTHERS = 2 + ECD_CHECK_LEVELS };

static int others_of(const ecd_check *check, ecd_backend *others[OTHERS])
{
    others[0] = check->one;
    others[1] = check->two;
    for (int i = 0; i < check->level_count; i++)
        others[2 + i] = check->levels[i];
    return 2 + check->level_count;
}

typedef struct combine_case {
    int terms;
    float divisor, offset, limit;
    bool in_place; // out is the second term
} combine_case;

static void run_combine(ecd_backend *be, const combine_case *c, const float *x, int64_t count, float *out)
{
    static const float by[ECD_COMBINE_MAX] = {0.7f, -1.3f, 1, 1e-3f};
    ecd_combine op = {.terms = c->terms, .divisor = c->divisor, .offset = c->offset, .limit = c->limit, .out = out, .count = count};
    for (int t = 0; t < c->terms; t++) {
        op.by[t] = by[t];
        op.x[t] = x + t * count;
    }
    memcpy(out, x + (c->terms > 1 ? count : 0), (size_t)count * sizeof *out);
    if (c->in_place)
        op.x[c->terms > 1] = out;
    be->ops->combine(be, &op);
}

static void check_sums(ecd_check *check)
{
    static const combine_case cases[] = {
        {1, 1, 0, 0, false},     {1, 0.13025f, 0.1159f, 0, false}, {2, 1, 0, 0, true},           {2, 0.31f, 0, 1, true},
        {3, 1, 0, 0, true},      {4, 1, -0.5f, 0, true},           {4, 3, 0.25f, 0.6f, false},   {2, 1, 0, INFINITY, false},
    };
    static const int64_t counts[] = {1, 37, 17003}; // the last takes several parts
    static const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 1e-42f, 3e38f, -3e38f, 0};
    ecd_backend *others[OTHERS];
    int backends = others_of(check, others);
    char text[80];
    for (int n = 0; n < 3; n++) {
        size_t count = (size_t)counts[n];
        float *x = ecd_check_values(check, ECD_COMBINE_MAX * count), *expected = malloc(count * sizeof *expected);
        for (size_t i = 0; count > 1 && i < 4 * (sizeof special / sizeof *special); i++)
            x[(i / 4 + i % 4 * (count + 1)) % (ECD_COMBINE_MAX * count)] = special[i / 4];
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            run_combine(check->ref, &cases[c], x, counts[n], expected);
            for (int b = 0; b < backends; b++) {
                ecd_guarded out = ecd_guarded_new(count * sizeof(float), sizeof(float));
                run_combine(others[b], &cases[c], x, counts[n], out.data);
                snprintf(text, sizeof text, "combine, case %zu of %zu: the bits of ref, and canaries", c, count);
                ecd_check_true(check, text, ecd_check_same(expected, out.data, count, sizeof(float)) && ecd_guarded_intact(&out));
                ecd_guarded_free(&out);
            }
        }
        free(x);
        free(expected);
    }
}

// Every byte's own value, what lies half way to the next as near as floats come, and what is beyond both ends.
static void check_bytes(ecd_check *check)
{
    enum { CHANNELS = 3, PIXELS = 17003 };
    static const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 1e-42f, 3e38f, -3e38f, 1, -1};
    ecd_backend *others[OTHERS];
    int backends = others_of(check, others);
    float *x = ecd_check_values(check, CHANNELS * PIXELS);
    uint8_t *expected = malloc(CHANNELS * PIXELS);
    for (int i = 0; i < 511 * 3; i++) {
        float v = 2 * ((float)(i / 3) / 510) - 1;
        x[i] = i % 3 == 0 ? v : nextafterf(v, i % 3 == 1 ? 2.0f : -2.0f);
    }
    memcpy(x + CHANNELS * PIXELS - 9, special, sizeof special);
    check->ref->ops->to_bytes(check->ref, x, CHANNELS, PIXELS, expected);
    ecd_check_true(check, "to_bytes: ends and the middle", expected[0] == 0 && expected[3 * 1530] == 255 && expected[3 * 765] == 128);
    for (int b = 0; b < backends; b++) {
        ecd_guarded out = ecd_guarded_new(CHANNELS * PIXELS, 1);
        others[b]->ops->to_bytes(others[b], x, CHANNELS, PIXELS, out.data);
        ecd_check_true(check, "to_bytes: the bytes of ref, and canaries",
                       !memcmp(expected, out.data, CHANNELS * PIXELS) && ecd_guarded_intact(&out));
        ecd_guarded_free(&out);
    }
    free(x);
    free(expected);
}

void ecd_check_combine(ecd_check *check)
{
    uint64_t random = check->random; // later checks keep their values
    check_sums(check);
    check_bytes(check);
    check->random = random;
}
