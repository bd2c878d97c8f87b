// Old tensor names to those that diffusers writes today.
//
// Source: diffusers models/modeling_utils.py, _convert_deprecated_attention_blocks: the VAE's attention once called
// its four linear layers query, key, value and proj_attn. Files from the CompVis side hold them as 1x1 convolutions.
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"

static const char *const old_parts[][2] = {
    {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"},
};

enum { OLD_PARTS = sizeof old_parts / sizeof *old_parts };

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t end_length = strlen(end);
    return length >= end_length && !memcmp(text + length - end_length, end, end_length);
}

// The part of `name` between its last two dots, "query" of "x.attentions.0.query.weight".
static const char *module_of(const char *name, size_t *length)
{
    const char *last = strrchr(name, '.');
    if (!last)
        return NULL;
    const char *start = last;
    while (start > name && start[-1] != '.')
        start--;
    *length = (size_t)(last - start);
    return start;
}

char *ecd_names_current(const char *name)
{
    size_t length = strlen(name), part_length = 0;
    if (ends_with(name, length, ".ecf8"))
        length -= strlen(".ecf8");
    char *current = malloc(length + 16); // the longest replacement is 5 bytes longer than what it replaces
    if (!current)
        return NULL;
    memcpy(current, name, length);
    current[length] = 0;
    const char *part = module_of(current, &part_length);
    if (!part || !strstr(current, "attentions."))
        return current;
    for (int i = 0; i < OLD_PARTS; i++) {
        if (part_length != strlen(old_parts[i][0]) || memcmp(part, old_parts[i][0], part_length))
            continue;
        size_t at = (size_t)(part - current), tail = length - at - part_length + 1; // with its NUL
        size_t new_length = strlen(old_parts[i][1]);
        memmove(current + at + new_length, current + at + part_length, tail);
        memcpy(current + at, old_parts[i][1], new_length);
        break;
    }
    return current;
}

// A 1x1 convolution [out, in, 1, 1] holds the same values in the same order as the linear layer [out, in].
static void squeeze_attention(ecd_tensor *tensor)
{
    static const char *const linears[] = {".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight"};
    size_t length = strlen(tensor->name);
    if (tensor->dims != 4 || tensor->shape[2] != 1 || tensor->shape[3] != 1 || !strstr(tensor->name, "attentions."))
        return;
    for (int i = 0; i < 4; i++)
        if (ends_with(tensor->name, length, linears[i]))
            tensor->dims = 2;
}

ecd_status ecd_names_update(ecd_checkpoint *cp, ecd_diag *diag)
{
    for (size_t i = 0; i < cp->count; i++) {
        ecd_tensor *tensor = &cp->tensors[i];
        size_t length = strlen(tensor->name);
        // A container says what it is only when it is opened (ecf8_tensors.c); the suffix is all that is known here.
        if (ends_with(tensor->name, length, ".ecf8") && tensor->dtype == ECD_U8)
            tensor->encoding = ECD_ENCODING_ECF8;
        char *current = ecd_names_current(tensor->name);
        if (!current)
            return ecd_fail_memory(diag, length, "a tensor's name");
        free((char *)(uintptr_t)tensor->name);
        tensor->name = current;
        squeeze_attention(tensor);
    }
    return ECD_OK;
}
