#define _GNU_SOURCE
#include "weights/component.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"
#include "weights/component_names.h"
#include "weights/component_rows.h"
#include "weights/rename.h"

enum { NAME_BYTES = 1024 };

typedef struct selection {
    ecd_checkpoint *cp;
    ecd_checkpoint before; // the tensors under the file's own names, indexed
    const ecd_component_names *names;
    const char *prefix;
    long last; // level
    ecd_diag *diag;
} selection;

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

// A tensor that stands behind the prefix and tells that the component is there; NULL if none does.
static const ecd_tensor *find_marker(const ecd_checkpoint *cp, const ecd_component_names *names, const char *prefix)
{
    for (size_t i = 0; i < cp->count; i++) {
        const char *name = cp->tensors[i].name;
        for (int k = 0; starts_with(name, prefix) && k < ECD_COMPONENT_WAYS && names->markers[k]; k++)
            if (starts_with(name + strlen(prefix), names->markers[k]))
                return &cp->tensors[i];
    }
    return NULL;
}

static ecd_status choose_prefix(selection *s)
{
    const ecd_tensor *found = NULL;
    for (int i = 0; i < ECD_COMPONENT_WAYS && s->names->prefixes[i]; i++) {
        const ecd_tensor *marker = find_marker(s->cp, s->names, s->names->prefixes[i]);
        if (marker && found)
            return ecd_tensor_fail(marker, s->diag, "is of a second %s, beside that of %.200s: expected one in a file",
                                   s->names->component, found->name);
        if (!marker)
            continue;
        found = marker;
        s->prefix = s->names->prefixes[i];
    }
    return ECD_OK;
}

// Where a component has no prefix, what has one is another's.
static bool is_others(const char *name)
{
    for (int c = 0; c < ECD_COMPONENTS; c++)
        for (int i = 0; i < ECD_COMPONENT_WAYS && ecd_component_table[c].prefixes[i]; i++) {
            const char *prefix = ecd_component_table[c].prefixes[i];
            if (*prefix && starts_with(name, prefix))
                return true;
        }
    return false;
}

// The tensor's name within the component; NULL if it is not the component's.
static const char *name_within(const selection *s, const ecd_tensor *tensor)
{
    size_t length = strlen(s->prefix);
    if (!length)
        return is_others(tensor->name) ? NULL : tensor->name;
    return starts_with(tensor->name, s->prefix) ? tensor->name + length : NULL;
}

static long last_level(const selection *s)
{
    long last = 0;
    for (size_t i = 0; s->names->levels && i < s->cp->count; i++) {
        const char *name = name_within(s, &s->cp->tensors[i]);
        long level = name ? ecd_rename_number(s->names->levels, name) : -1;
        last = level > last ? level : last;
    }
    return last;
}

static ecd_status add(selection *s, const char *name, ecd_tensor *tensor, const ecd_tensor *from)
{
    tensor->own_name = from->name;
    ecd_status status = ecd_checkpoint_add(s->cp, name, strlen(name), tensor, s->diag);
    if (!status)
        ecd_names_squeeze(&s->cp->tensors[s->cp->count - 1]);
    return status;
}

static int parts_in(const ecd_component_rule *rule)
{
    int count = 0;
    while (count < ECD_COMPONENT_PARTS && rule->to[count])
        count++;
    return count;
}

static ecd_status add_parts(selection *s, const ecd_component_rule *rule, const ecd_tensor *t, const char *within)
{
    char name[NAME_BYTES];
    int64_t rows = ecd_component_rows(&s->before, t), sum = 0, first = 0;
    int count = parts_in(rule);
    for (int i = 0; i < count; i++)
        sum += rule->shares[i];
    if (rows < sum || rows % sum)
        return ecd_tensor_fail(t, s->diag, "of a module of %lld rows, expected a multiple of %lld: it holds %d",
                               (long long)rows, (long long)sum, count);
    for (int i = 0; i < count; i++) {
        ecd_tensor part;
        int64_t end = first + rows / sum * rule->shares[i];
        ecd_status status = ecd_component_part(t, rows, first, end, &part, s->diag);
        if (status)
            return status;
        if (!ecd_rename(rule->from, rule->to[i], within, s->last, name, sizeof name))
            return ecd_tensor_fail(t, s->diag, "a name of more than %d characters", NAME_BYTES - 1);
        if ((status = add(s, name, &part, t)))
            return status;
        first = end;
    }
    return ECD_OK;
}

static ecd_status add_swapped(selection *s, const ecd_component_rule *rule, const ecd_tensor *t, const char *within)
{
    char name[NAME_BYTES];
    ecd_tensor out;
    ecd_status status = ecd_component_swap(s->cp, t, ecd_component_rows(&s->before, t), &out, s->diag);
    if (!status && !ecd_rename(rule->from, rule->to[0], within, s->last, name, sizeof name))
        status = ecd_tensor_fail(t, s->diag, "a name of more than %d characters", NAME_BYTES - 1);
    return status ? status : add(s, name, &out, t);
}

// Names that no rule knows stay: scales' markers, diffusers' own, and what nobody will ask for.
static ecd_status add_renamed(selection *s, const ecd_tensor *t, const char *within)
{
    char name[NAME_BYTES];
    ecd_tensor same = *t;
    for (size_t i = 0; i < s->names->rule_count; i++) {
        const ecd_component_rule *rule = &s->names->rules[i];
        if (!ecd_rename(rule->from, rule->to[0], within, s->last, name, sizeof name))
            continue;
        s->cp->used_names |= UINT64_C(1) << i;
        if (rule->swapped)
            return add_swapped(s, rule, t, within);
        return rule->to[1] ? add_parts(s, rule, t, within) : add(s, name, &same, t);
    }
    return add(s, within, &same, t);
}

// The old names are what own_name points at: they are kept, or go with the tensors that are others'.
static ecd_status let_go(selection *s, ecd_status status)
{
    for (size_t i = 0; i < s->before.count; i++) {
        char *name = (char *)(uintptr_t)s->before.tensors[i].name;
        if (status || !name_within(s, &s->before.tensors[i]))
            free(name);
        else
            status = ecd_checkpoint_keep(s->cp, name, s->diag);
    }
    free(s->before.tensors);
    free(s->before.by_name);
    return status;
}

// Is there anything to rename or to leave out?
static bool changes(const selection *s)
{
    char name[NAME_BYTES];
    bool any = *s->prefix;
    for (size_t i = 0; !any && i < s->cp->count; i++) {
        const char *within = name_within(s, &s->cp->tensors[i]);
        any = !within;
        for (size_t k = 0; !any && k < s->names->rule_count; k++)
            any = ecd_rename(s->names->rules[k].from, s->names->rules[k].to[0], within, s->last, name, sizeof name);
    }
    return any;
}

ecd_status ecd_component_select(ecd_checkpoint *cp, const char *component, bool *found, ecd_diag *diag)
{
    selection s = {.cp = cp, .names = ecd_component_names_of(component), .diag = diag};
    *found = false;
    if (!s.names)
        return ECD_OK;
    ecd_status status = choose_prefix(&s);
    if (status || !s.prefix)
        return status;
    *found = true;
    s.last = last_level(&s);
    if (!changes(&s))
        return ECD_OK;
    s.before.tensors = cp->tensors;
    s.before.count = cp->count;
    s.before.by_name = cp->by_name;
    cp->tensors = NULL;
    cp->by_name = NULL;
    cp->count = cp->capacity = 0;
    for (size_t i = 0; !status && i < s.before.count; i++) {
        const ecd_tensor *t = &s.before.tensors[i];
        const char *within = name_within(&s, t);
        if (within)
            status = add_renamed(&s, t, within);
    }
    status = let_go(&s, status);
    cp->names = s.names;
    cp->prefix = s.prefix;
    cp->last_level = s.last;
    return status ? status : ecd_checkpoint_index(cp, diag);
}

bool ecd_checkpoint_own_name(const ecd_checkpoint *cp, const char *name, char *out, size_t room)
{
    int length = cp->names ? snprintf(out, room, "%s", cp->prefix) : -1;
    if (length < 0 || (size_t)length >= room)
        return false;
    // Several rules may give this name: one that the file's tensors are called by comes first.
    for (int used = 1; used >= 0; used--)
        for (size_t i = 0; i < cp->names->rule_count; i++)
            for (int k = 0; (int)(cp->used_names >> i & 1) == used && k < ECD_COMPONENT_PARTS; k++)
                if (cp->names->rules[i].to[k] &&
                    ecd_rename_back(cp->names->rules[i].from, cp->names->rules[i].to[k], name, cp->last_level,
                                    out + length, room - (size_t)length))
                    return true;
    int rest = snprintf(out + length, room - (size_t)length, "%s", name);
    return *cp->prefix && rest >= 0 && (size_t)(length + rest) < room;
}

char *ecd_component_beside(const char *file, const char *component)
{
    const ecd_component_names *names = ecd_component_names_of(component);
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    for (int i = 0; folder && names && i < ECD_COMPONENT_WAYS && names->beside[i]; i++) {
        char *path = ecd_path_join(folder, names->beside[i]);
        if (path && ecd_path_exists(path)) {
            free(folder);
            return path;
        }
        free(path);
    }
    free(folder);
    return NULL;
}

bool ecd_component_is_file(const char *path)
{
    size_t length = strlen(path), end = strlen(".safetensors");
    return ecd_path_exists(path) && !ecd_path_is_folder(path) &&
           (ecd_torch_named(path) || (length > end && !strcmp(path + length - end, ".safetensors")));
}
