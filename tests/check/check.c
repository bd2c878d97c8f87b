#include "tests/check/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANARY = 256 };

float ecd_check_random(ecd_check *check)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        check->random = check->random * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(check->random >> 40) / 16777216.0f - 0.5f;
    }
    return sum * 1.7320508f;
}

ecd_guarded ecd_guarded_new(size_t size_bytes, size_t element_bytes)
{
    ecd_guarded buffer = {malloc(size_bytes + 2 * CANARY + element_bytes), NULL, size_bytes};
    if (!buffer.memory)
        abort();
    memset(buffer.memory, 0x5a, size_bytes + 2 * CANARY + element_bytes);
    buffer.data = buffer.memory + CANARY + element_bytes;
    return buffer;
}

bool ecd_guarded_intact(const ecd_guarded *buffer)
{
    const char *data = buffer->data;
    for (int i = 1; i <= CANARY; i++)
        if (data[-i] != 0x5a || (i < CANARY && data[buffer->size_bytes + (size_t)i - 1] != 0x5a))
            return false;
    return true;
}

void ecd_guarded_free(ecd_guarded *buffer)
{
    free(buffer->memory);
}

void ecd_check_fill(ecd_check *check, float *values, size_t count, bool round)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = ecd_check_random(check);
        if (round)
            values[i] = ecd_from_bf16(ecd_to_bf16(values[i]));
    }
}

void ecd_check_as_act(const ecd_backend *be, const float *values, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        if (be->act_bytes == 2)
            ((uint16_t *)out)[i] = ecd_to_bf16(values[i]);
        else
            ((float *)out)[i] = values[i];
    }
}

void ecd_check_raise_keys(float *k, int64_t batch, int64_t tokens, int64_t width, int64_t stride)
{
    for (int64_t row = 0; row < batch * tokens; row++)
        for (int64_t i = 0; i < width && row % tokens >= tokens - 3; i++)
            k[row * stride + i] = ecd_from_bf16(ecd_to_bf16(k[row * stride + i] * 5));
}

void ecd_check_true(ecd_check *check, const char *what, bool holds)
{
    check->checks++;
    if (holds)
        return;
    check->failures++;
    printf("FAILED %s\n", what);
}

void ecd_check_close(ecd_check *check, const char *what, const float *expected, const void *found, bool act,
                     size_t count)
{
    double largest = 1e-6, worst = 0;
    bool same_kind = true, narrow = act && check->one->act_bytes == 2;
    for (size_t i = 0; i < count; i++)
        if (isfinite(expected[i]) && fabs((double)expected[i]) > largest)
            largest = fabs((double)expected[i]);
    for (size_t i = 0; i < count; i++) {
        float value = narrow ? ecd_from_bf16(((const uint16_t *)found)[i]) : ((const float *)found)[i];
        if (isnan(expected[i]) || isinf(expected[i])) {
            same_kind &= isnan(expected[i]) ? isnan(value) != 0 : value == expected[i];
            continue;
        }
        double error = fabs((double)value - (double)expected[i]) / largest;
        worst = error > worst || isnan(error) ? error : worst;
    }
    char text[200];
    snprintf(text, sizeof text, "%s: difference %.3g, allowed %.3g%s", what, worst, check->tolerance,
             same_kind ? "" : "; NaN or infinity differs");
    ecd_check_true(check, text, same_kind && worst <= check->tolerance);
}

bool ecd_check_same(const void *a, const void *b, size_t count, size_t element_bytes)
{
    const char *x = a, *y = b;
    for (size_t i = 0; i < count; i++, x += element_bytes, y += element_bytes) {
        if (!memcmp(x, y, element_bytes))
            continue;
        float v[2];
        uint16_t half[2];
        memcpy(half, x, sizeof *half);
        memcpy(half + 1, y, sizeof *half);
        for (int k = 0; k < 2; k++)
            v[k] = ecd_from_bf16(half[k]);
        if (element_bytes == sizeof *v) {
            memcpy(v, x, sizeof *v);
            memcpy(v + 1, y, sizeof *v);
        }
        if (!isnan(v[0]) || !isnan(v[1]))
            return false;
    }
    return true;
}

// Every level against what the level in use gave.
static void compare_levels(ecd_check *check, const ecd_check_case *c, const void *x, const void *expected)
{
    size_t size = c->out_act ? check->one->act_bytes : 4;
    char text[160];
    for (int i = 0; i < check->level_count; i++) {
        ecd_guarded out = ecd_guarded_new(c->out * size, size);
        memset(out.data, 0, c->out * size);
        c->run(check->levels[i], c->parameters, x, out.data);
        snprintf(text, sizeof text, "%s: equal bits at %s, and canaries", c->what, check->level_names[i]);
        ecd_check_true(check, text, ecd_check_same(expected, out.data, c->out, size) && ecd_guarded_intact(&out));
        ecd_guarded_free(&out);
    }
}

float *ecd_check_values(ecd_check *check, size_t count)
{
    float *values = malloc(count * sizeof *values);
    if (!values)
        abort();
    ecd_check_fill(check, values, count, true);
    return values;
}

void ecd_check_run(ecd_check *check, const ecd_check_case *c)
{
    size_t size = c->out_act ? check->one->act_bytes : 4, x_size = c->x_act ? check->one->act_bytes : 4;
    float *expected = calloc(c->out, sizeof *expected);
    ecd_guarded from = ecd_guarded_new(c->in * x_size, x_size);
    ecd_guarded one = ecd_guarded_new(c->out * size, size), two = ecd_guarded_new(c->out * size, size);
    if (c->x_act)
        ecd_check_as_act(check->one, c->x, c->in, from.data);
    else
        memcpy(from.data, c->x, c->in * 4);
    memset(one.data, 0, c->out * size);
    memset(two.data, 0, c->out * size);
    c->run(check->ref, c->parameters, c->x, expected);
    c->run(check->one, c->parameters, from.data, one.data);
    c->run(check->two, c->parameters, from.data, two.data);
    ecd_check_close(check, c->what, expected, one.data, c->out_act, c->out);
    char text[160];
    snprintf(text, sizeof text, "%s: equal bits with two threads, and canaries", c->what);
    ecd_check_true(check, text, !memcmp(one.data, two.data, c->out * size) && ecd_guarded_intact(&one) &&
                                    ecd_guarded_intact(&two) && ecd_guarded_intact(&from));
    compare_levels(check, c, from.data, one.data);
    free(expected);
    ecd_guarded_free(&from);
    ecd_guarded_free(&one);
    ecd_guarded_free(&two);
}

void ecd_check_all(ecd_check *check)
{
    ecd_check_linear(check);
    ecd_check_vision(check);
    ecd_check_layout(check);
    ecd_check_rope(check);
    ecd_check_batch(check);
    ecd_check_place(check);
}
