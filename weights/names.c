// Old tensor names to those that diffusers writes today.
//
// Source: diffusers models/modeling_utils.py, _convert_deprecated_attention_blocks: the VAE's attention once called
// its four linear layers query, key, value and proj_attn. Files from the CompVis side hold them as 1x1 convolutions.
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"
#include "weights/rename.h"

static const char *const old_names[][2] = {
    {"*attentions.#.query.*", "*attentions.#.to_q.*"},
    {"*attentions.#.key.*", "*attentions.#.to_k.*"},
    {"*attentions.#.value.*", "*attentions.#.to_v.*"},
    {"*attentions.#.proj_attn.*", "*attentions.#.to_out.0.*"},
};

enum { OLD_NAMES = sizeof old_names / sizeof *old_names };

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t end_length = strlen(end);
    return length >= end_length && !memcmp(text + length - end_length, end, end_length);
}

char *ecd_names_current(const char *name)
{
    size_t length = strlen(name), room = length + 16; // the longest replacement is 5 bytes longer than what it replaces
    if (ends_with(name, length, ".ecf8"))
        length -= strlen(".ecf8");
    char *plain = malloc(length + 1), *current = malloc(room);
    if (!plain || !current) {
        free(plain);
        free(current);
        return NULL;
    }
    memcpy(plain, name, length);
    plain[length] = 0;
    for (int i = 0; strstr(plain, "attentions.") && i < OLD_NAMES; i++)
        if (ecd_rename(old_names[i][0], old_names[i][1], plain, 0, current, room)) {
            free(plain);
            return current;
        }
    free(current);
    return plain;
}

// A 1x1 convolution [out, in, 1, 1] holds the same values in the same order as the linear layer [out, in].
void ecd_names_squeeze(ecd_tensor *tensor)
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
        ecd_names_squeeze(tensor);
    }
    return ECD_OK;
}
