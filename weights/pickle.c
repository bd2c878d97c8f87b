// A reader of pickles (Python's pickletools.py describes the opcodes) that builds plain values and runs nothing.
//
// It does not recurse, so depth costs no stack; every opcode adds at most one value and one cell for each value taken
// from the stack, so that memory is linear in the pickle's size, which is limited.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "weights/torch_internal.h"

enum { MAX_VALUES = 1 << 22, MAX_MEMO = 1 << 20, MAX_BYTES = 1 << 26 };

ecd_status ecd_pickle_fail(const ecd_pickle *p, const char *format, ...)
{
    char text[ECD_DIAG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ecd_fail(p->diag, ECD_DATA, "%s", text);
    ecd_diag_file(p->diag, p->path);
    ecd_diag_offset(p->diag, p->base_bytes + p->at);
    return ECD_DATA;
}

// Room for `wanted` elements; false when memory is out.
static bool grow(void **list, size_t *room, size_t wanted, size_t element_bytes)
{
    const size_t before = *room;
    void *moved = ecd_grow(*list, wanted, room, element_bytes);
    if (!moved)
        return false;
    memset((char *)moved + before * element_bytes, 0, (*room - before) * element_bytes);
    *list = moved;
    return true;
}

static ecd_status no_memory(const ecd_pickle *p)
{
    return ecd_fail_memory(p->diag, p->value_count * sizeof *p->values, "a pickle's values");
}

uint32_t ecd_pickle_new(ecd_pickle *p, ecd_pickle_value value)
{
    if (p->value_count >= MAX_VALUES) {
        ecd_pickle_fail(p, "more than %d values in the pickle, expected fewer", MAX_VALUES);
        return 0;
    }
    void *list = p->values;
    bool room = grow(&list, &p->value_room, p->value_count + 2, sizeof *p->values);
    p->values = list;
    if (!room) {
        no_memory(p);
        return 0;
    }
    p->values[++p->value_count] = value;
    return (uint32_t)p->value_count;
}

// The failure that ecd_pickle_new has described.
static ecd_status failed(const ecd_pickle *p)
{
    return p->diag && p->diag->status ? p->diag->status : ECD_DATA;
}

static ecd_status push(ecd_pickle *p, uint32_t value)
{
    if (p->depth >= MAX_VALUES)
        return ecd_pickle_fail(p, "more than %d values on the pickle's stack, expected fewer", MAX_VALUES);
    void *list = p->stack;
    bool room = grow(&list, &p->stack_room, p->depth + 1, sizeof *p->stack);
    p->stack = list;
    if (!room)
        return no_memory(p);
    p->stack[p->depth++] = value;
    return ECD_OK;
}

static ecd_status push_new(ecd_pickle *p, ecd_pickle_value value)
{
    uint32_t index = ecd_pickle_new(p, value);
    return index ? push(p, index) : failed(p);
}

static size_t floor_of_stack(const ecd_pickle *p)
{
    return p->mark_count ? p->marks[p->mark_count - 1] : 0;
}

static ecd_status pop(ecd_pickle *p, uint32_t *out)
{
    if (p->depth <= floor_of_stack(p))
        return ecd_pickle_fail(p, "the pickle takes from an empty stack, expected a value on it");
    *out = p->stack[--p->depth];
    return ECD_OK;
}

static ecd_status pop_mark(ecd_pickle *p, size_t *start)
{
    if (!p->mark_count)
        return ecd_pickle_fail(p, "the pickle ends a list that it has not begun, expected a mark");
    *start = p->marks[--p->mark_count];
    return ECD_OK;
}

static ecd_status push_mark(ecd_pickle *p)
{
    if (p->mark_count >= MAX_VALUES)
        return ecd_pickle_fail(p, "more than %d marks on the pickle's stack, expected fewer", MAX_VALUES);
    void *list = p->marks;
    bool room = grow(&list, &p->mark_room, p->mark_count + 1, sizeof *p->marks);
    p->marks = list;
    if (!room)
        return no_memory(p);
    p->marks[p->mark_count++] = (uint32_t)p->depth;
    return ECD_OK;
}

// Appends the stack's values from `start` on to a container and takes them off.
static ecd_status extend(ecd_pickle *p, uint32_t container, size_t start)
{
    if (p->depth - start > MAX_VALUES - p->cell_count)
        return ecd_pickle_fail(p, "more than %d elements in the pickle, expected fewer", MAX_VALUES);
    void *list = p->cells;
    bool room = grow(&list, &p->cell_room, p->cell_count + (p->depth - start) + 1, sizeof *p->cells);
    p->cells = list;
    if (!room)
        return no_memory(p);
    ecd_pickle_value *value = &p->values[container];
    for (size_t i = start; i < p->depth; i++) {
        uint32_t cell = (uint32_t)++p->cell_count;
        p->cells[cell] = (ecd_pickle_cell){.value = p->stack[i]};
        if (value->count++)
            p->cells[value->last].next = cell;
        else
            value->first = cell;
        value->last = cell;
    }
    p->depth = start;
    return ECD_OK;
}

uint32_t ecd_pickle_item(const ecd_pickle *p, uint32_t container, uint32_t index)
{
    const ecd_pickle_value *value = &p->values[container];
    if ((value->kind != ECD_PICKLE_TUPLE && value->kind != ECD_PICKLE_LIST) || index >= value->count)
        return 0;
    uint32_t cell = value->first;
    while (index--)
        cell = p->cells[cell].next;
    return p->cells[cell].value;
}

// The next `bytes` bytes as a little-endian number; `bytes` at most 8.
static ecd_status read_number(ecd_pickle *p, unsigned bytes, uint64_t *out)
{
    if (p->size_bytes - p->at < bytes)
        return ecd_pickle_fail(p, "the pickle ends inside an argument, expected %u bytes more", bytes);
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)p->data[p->at + i] << 8 * i;
    p->at += bytes;
    *out = value;
    return ECD_OK;
}

static ecd_status push_text(ecd_pickle *p, unsigned length_bytes)
{
    uint64_t length = 0;
    ecd_status status = read_number(p, length_bytes, &length);
    if (status)
        return status;
    if (length > p->size_bytes - p->at)
        return ecd_pickle_fail(p, "a string of %llu bytes, expected at most the %llu bytes that follow",
                               (unsigned long long)length, (unsigned long long)(p->size_bytes - p->at));
    const uint8_t *text = p->data + p->at;
    p->at += length;
    return push_new(p, (ecd_pickle_value){.kind = ECD_PICKLE_TEXT, .count = (uint32_t)length, .text = text});
}

static ecd_status push_int(ecd_pickle *p, unsigned bytes, bool is_signed)
{
    uint64_t value = 0;
    ecd_status status = read_number(p, bytes, &value);
    if (status)
        return status;
    if (is_signed && bytes && bytes < 8 && value >> (8 * bytes - 1))
        value |= UINT64_MAX << 8 * bytes;
    return push_new(p, (ecd_pickle_value){.kind = ECD_PICKLE_INT, .number = (int64_t)value});
}

static ecd_status push_long(ecd_pickle *p)
{
    uint64_t bytes = 0;
    ecd_status status = read_number(p, 1, &bytes);
    if (!status && bytes > 8)
        status = ecd_pickle_fail(p, "an integer of %u bytes, expected at most 8", (unsigned)bytes);
    return status ? status : push_int(p, (unsigned)bytes, true);
}

static ecd_status push_float(ecd_pickle *p)
{
    uint64_t bits = 0;
    ecd_status status = read_number(p, 8, &bits);
    return status ? status : push_new(p, (ecd_pickle_value){.kind = ECD_PICKLE_INERT});
}

static ecd_status read_line(ecd_pickle *p, const char **line, size_t *length)
{
    const uint8_t *start = p->data + p->at, *end = memchr(start, '\n', p->size_bytes - p->at);
    if (!end)
        return ecd_pickle_fail(p, "the pickle ends inside a name, expected its line to end");
    *line = (const char *)start;
    *length = (size_t)(end - start);
    p->at += *length + 1;
    return ECD_OK;
}

static ecd_status push_global(ecd_pickle *p)
{
    const char *module = NULL, *name = NULL;
    size_t module_bytes = 0, name_bytes = 0;
    uint32_t value = 0;
    uint64_t start = p->at - 1, end;
    ecd_status status = read_line(p, &module, &module_bytes);
    if (!status)
        status = read_line(p, &name, &name_bytes);
    if (status)
        return status;
    end = p->at;
    p->at = start; // a fault is told at the opcode
    status = ecd_pickle_find_global(p, module, module_bytes, name, name_bytes, &value);
    p->at = end;
    return status ? status : push(p, value);
}

static ecd_status push_stack_global(ecd_pickle *p)
{
    uint32_t name = 0, module = 0, value = 0;
    ecd_status status = pop(p, &name);
    if (!status)
        status = pop(p, &module);
    if (status)
        return status;
    const ecd_pickle_value *n = &p->values[name], *m = &p->values[module];
    if (n->kind != ECD_PICKLE_TEXT || m->kind != ECD_PICKLE_TEXT)
        return ecd_pickle_fail(p, "a global whose name is not a string, expected two strings");
    p->at--;
    status = ecd_pickle_find_global(p, (const char *)m->text, m->count, (const char *)n->text, n->count, &value);
    p->at++;
    return status ? status : push(p, value);
}

// A container of the last `items` values; of those above the mark if items < 0.
static ecd_status collect(ecd_pickle *p, ecd_pickle_kind kind, int items)
{
    size_t start = 0;
    if (items < 0) {
        ecd_status status = pop_mark(p, &start);
        if (status)
            return status;
    } else if (p->depth - floor_of_stack(p) < (size_t)items) {
        return ecd_pickle_fail(p, "the pickle takes from an empty stack, expected %d values on it", items);
    } else {
        start = p->depth - (size_t)items;
    }
    if (kind == ECD_PICKLE_DICT && (p->depth - start) % 2)
        return ecd_pickle_fail(p, "a key without value, expected pairs");
    uint32_t container = ecd_pickle_new(p, (ecd_pickle_value){.kind = (uint8_t)kind});
    ecd_status status = container ? extend(p, container, start) : failed(p);
    return status ? status : push(p, container);
}

// Moves the last `items` values (those above the mark if items < 0) into the container below them.
static ecd_status add_items(ecd_pickle *p, ecd_pickle_kind kind, int items)
{
    size_t start = 0;
    if (items < 0) {
        ecd_status status = pop_mark(p, &start);
        if (status)
            return status;
    } else {
        start = p->depth < (size_t)items ? 0 : p->depth - (size_t)items;
    }
    if (start <= floor_of_stack(p))
        return ecd_pickle_fail(p, "the pickle adds to nothing, expected a container on its stack");
    uint32_t container = p->stack[start - 1];
    if (p->values[container].kind != kind)
        return ecd_pickle_fail(p, "the pickle adds to something else, expected a %s",
                               kind == ECD_PICKLE_DICT ? "dictionary" : "list");
    if (kind == ECD_PICKLE_DICT && (p->depth - start) % 2)
        return ecd_pickle_fail(p, "a key without value, expected pairs");
    return extend(p, container, start);
}

static ecd_status put_at(ecd_pickle *p, uint64_t index)
{
    if (p->depth <= floor_of_stack(p))
        return ecd_pickle_fail(p, "the pickle notes an empty stack, expected a value on it");
    if (index >= MAX_MEMO)
        return ecd_pickle_fail(p, "memo %llu, expected one below %d", (unsigned long long)index, MAX_MEMO);
    void *list = p->memo;
    bool room = grow(&list, &p->memo_room, (size_t)index + 1, sizeof *p->memo);
    p->memo = list;
    if (!room)
        return no_memory(p);
    p->memo_count += !p->memo[index];
    p->memo[index] = p->stack[p->depth - 1];
    return ECD_OK;
}

static ecd_status put(ecd_pickle *p, unsigned bytes)
{
    uint64_t index = 0;
    ecd_status status = read_number(p, bytes, &index);
    return status ? status : put_at(p, index);
}

static ecd_status get(ecd_pickle *p, unsigned bytes)
{
    uint64_t index = 0;
    ecd_status status = read_number(p, bytes, &index);
    if (status)
        return status;
    if (index >= p->memo_room || !p->memo[index])
        return ecd_pickle_fail(p, "memo %llu is not set, expected one that is", (unsigned long long)index);
    return push(p, p->memo[index]);
}

static ecd_status call(ecd_pickle *p, bool construct)
{
    uint32_t arguments = 0, function = 0, result = 0;
    ecd_status status = pop(p, &arguments);
    if (!status)
        status = pop(p, &function);
    if (!status)
        status = ecd_pickle_call(p, function, arguments, construct, &result);
    return status ? status : push(p, result);
}

// Attributes (a dictionary's _metadata) are of no use here; they are dropped.
static ecd_status build(ecd_pickle *p)
{
    uint32_t state = 0;
    ecd_status status = pop(p, &state);
    if (status)
        return status;
    uint8_t kind = p->depth > floor_of_stack(p) ? p->values[p->stack[p->depth - 1]].kind : ECD_PICKLE_NONE;
    if (kind != ECD_PICKLE_DICT && kind != ECD_PICKLE_INERT)
        return ecd_pickle_fail(p, "the pickle sets the state of something, expected only of dictionaries");
    return ECD_OK;
}

static ecd_status persistent(ecd_pickle *p)
{
    uint32_t id = 0, storage = 0;
    ecd_status status = pop(p, &id);
    if (!status)
        status = ecd_pickle_storage(p, id, &storage);
    return status ? status : push(p, storage);
}

static ecd_status discard(ecd_pickle *p)
{
    uint32_t unused = 0;
    return pop(p, &unused);
}

static ecd_status discard_marked(ecd_pickle *p)
{
    size_t start = 0;
    ecd_status status = pop_mark(p, &start);
    if (!status)
        p->depth = start;
    return status;
}

static ecd_status duplicate(ecd_pickle *p)
{
    if (p->depth <= floor_of_stack(p))
        return ecd_pickle_fail(p, "the pickle doubles an empty stack, expected a value on it");
    return push(p, p->stack[p->depth - 1]);
}

static ecd_status protocol(ecd_pickle *p)
{
    uint64_t version = 0;
    ecd_status status = read_number(p, 1, &version);
    if (!status && (version < 2 || version > 5))
        status = ecd_pickle_fail(p, "pickle protocol %u, expected 2 to 5", (unsigned)version);
    return status;
}

// A frame says how many bytes a reader may fetch at once; nothing here depends on it, but a lie is refused.
static ecd_status frame(ecd_pickle *p)
{
    uint64_t size = 0;
    ecd_status status = read_number(p, 8, &size);
    if (!status && size > p->size_bytes - p->at)
        status = ecd_pickle_fail(p, "a frame of %llu bytes, expected at most %llu", (unsigned long long)size,
                                 (unsigned long long)(p->size_bytes - p->at));
    return status;
}

static ecd_status push_kind(ecd_pickle *p, ecd_pickle_kind kind)
{
    return push_new(p, (ecd_pickle_value){.kind = (uint8_t)kind});
}

static ecd_status step(ecd_pickle *p, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: return protocol(p);
    case 0x95: return frame(p);
    case '(': return push_mark(p);
    case '0': return discard(p);
    case '1': return discard_marked(p);
    case '2': return duplicate(p);
    case 'N': return push_kind(p, ECD_PICKLE_NONE);
    case 0x88:
    case 0x89: return push_kind(p, ECD_PICKLE_BOOL);
    case 'K': return push_int(p, 1, false);
    case 'M': return push_int(p, 2, false);
    case 'J': return push_int(p, 4, true);
    case 0x8a: return push_long(p);
    case 'G': return push_float(p);
    case 'U':
    case 'C':
    case 0x8c: return push_text(p, 1);
    case 'T':
    case 'B':
    case 'X': return push_text(p, 4);
    case 0x8d:
    case 0x8e: return push_text(p, 8);
    case '}': return push_kind(p, ECD_PICKLE_DICT);
    case ']': return push_kind(p, ECD_PICKLE_LIST);
    case ')': return push_kind(p, ECD_PICKLE_TUPLE);
    case 0x85: return collect(p, ECD_PICKLE_TUPLE, 1);
    case 0x86: return collect(p, ECD_PICKLE_TUPLE, 2);
    case 0x87: return collect(p, ECD_PICKLE_TUPLE, 3);
    case 't': return collect(p, ECD_PICKLE_TUPLE, -1);
    case 'l': return collect(p, ECD_PICKLE_LIST, -1);
    case 'd': return collect(p, ECD_PICKLE_DICT, -1);
    case 'a': return add_items(p, ECD_PICKLE_LIST, 1);
    case 'e': return add_items(p, ECD_PICKLE_LIST, -1);
    case 's': return add_items(p, ECD_PICKLE_DICT, 2);
    case 'u': return add_items(p, ECD_PICKLE_DICT, -1);
    case 'q': return put(p, 1);
    case 'r': return put(p, 4);
    case 0x94: return put_at(p, p->memo_count);
    case 'h': return get(p, 1);
    case 'j': return get(p, 4);
    case 'c': return push_global(p);
    case 0x93: return push_stack_global(p);
    case 'R': return call(p, false);
    case 0x81: return call(p, true);
    case 'b': return build(p);
    case 'Q': return persistent(p);
    default:
        p->at--;
        return ecd_pickle_fail(p, "pickle opcode 0x%02x, expected one of those that a dictionary of tensors takes",
                               opcode);
    }
}

ecd_status ecd_pickle_run(ecd_pickle *p, uint32_t *root)
{
    if (p->size_bytes > MAX_BYTES)
        return ecd_pickle_fail(p, "a pickle of %llu bytes, expected at most %d", (unsigned long long)p->size_bytes,
                               MAX_BYTES);
    while (p->at < p->size_bytes) {
        uint8_t opcode = p->data[p->at++];
        if (opcode == '.')
            return pop(p, root);
        ecd_status status = step(p, opcode);
        if (status)
            return status;
    }
    return ecd_pickle_fail(p, "the pickle ends early, expected its stop code");
}

void ecd_pickle_free(ecd_pickle *p)
{
    free(p->values);
    free(p->cells);
    free(p->stack);
    free(p->marks);
    free(p->memo);
}
