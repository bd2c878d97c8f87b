// What the globals of a pickle stand for. Nothing is run: each allowed name is a case below, any other is refused.
//
// Sources: torch/_utils.py (_rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter: the order of arguments),
// torch/serialization.py (persistent_id: ('storage', type, key, location, elements)).
#include <stdlib.h>
#include <string.h>

#include "weights/torch_internal.h"

typedef struct allowed {
    const char *module, *name;
    ecd_pickle_global global;
    ecd_dtype dtype;
} allowed;

static const allowed list[] = {
    {"collections", "OrderedDict", ECD_PICKLE_ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", ECD_PICKLE_REBUILD_V2, 0},
    {"torch._utils", "_rebuild_tensor_v3", ECD_PICKLE_REBUILD_V3, 0},
    {"torch._utils", "_rebuild_parameter", ECD_PICKLE_REBUILD_PARAMETER, 0},
    {"torch", "Size", ECD_PICKLE_SIZE, 0},
    {"torch", "device", ECD_PICKLE_DEVICE, 0},
    {"argparse", "Namespace", ECD_PICKLE_NAMESPACE, 0}, // the options that DiT's train.py stores beside its weights
    {"torch", "FloatStorage", ECD_PICKLE_STORAGE_TYPE, ECD_F32},
    {"torch", "HalfStorage", ECD_PICKLE_STORAGE_TYPE, ECD_F16},
    {"torch", "BFloat16Storage", ECD_PICKLE_STORAGE_TYPE, ECD_BF16},
    {"torch", "DoubleStorage", ECD_PICKLE_STORAGE_TYPE, ECD_F64},
    {"torch", "LongStorage", ECD_PICKLE_STORAGE_TYPE, ECD_I64},
    {"torch", "IntStorage", ECD_PICKLE_STORAGE_TYPE, ECD_I32},
    {"torch", "ShortStorage", ECD_PICKLE_STORAGE_TYPE, ECD_I16},
    {"torch", "CharStorage", ECD_PICKLE_STORAGE_TYPE, ECD_I8},
    {"torch", "ByteStorage", ECD_PICKLE_STORAGE_TYPE, ECD_U8},
    {"torch", "BoolStorage", ECD_PICKLE_STORAGE_TYPE, ECD_BOOL},
    {"torch", "UntypedStorage", ECD_PICKLE_STORAGE_TYPE, ECD_U8},
    {"torch.storage", "UntypedStorage", ECD_PICKLE_STORAGE_TYPE, ECD_U8},
    {"torch", "float32", ECD_PICKLE_DTYPE, ECD_F32},
    {"torch", "float16", ECD_PICKLE_DTYPE, ECD_F16},
    {"torch", "bfloat16", ECD_PICKLE_DTYPE, ECD_BF16},
    {"torch", "float64", ECD_PICKLE_DTYPE, ECD_F64},
    {"torch", "float8_e4m3fn", ECD_PICKLE_DTYPE, ECD_E4M3},
    {"torch", "float8_e5m2", ECD_PICKLE_DTYPE, ECD_E5M2},
    {"torch", "int64", ECD_PICKLE_DTYPE, ECD_I64},
    {"torch", "int32", ECD_PICKLE_DTYPE, ECD_I32},
    {"torch", "int16", ECD_PICKLE_DTYPE, ECD_I16},
    {"torch", "int8", ECD_PICKLE_DTYPE, ECD_I8},
    {"torch", "uint8", ECD_PICKLE_DTYPE, ECD_U8},
    {"torch", "bool", ECD_PICKLE_DTYPE, ECD_BOOL},
};

static bool same(const char *text, size_t bytes, const char *expected)
{
    return bytes == strlen(expected) && !memcmp(text, expected, bytes);
}

static ecd_status described(const ecd_pickle *p)
{
    return p->diag && p->diag->status ? p->diag->status : ECD_DATA;
}

static ecd_status make(ecd_pickle *p, ecd_pickle_value value, uint32_t *out)
{
    *out = ecd_pickle_new(p, value);
    return *out ? ECD_OK : described(p);
}

ecd_status ecd_pickle_find_global(ecd_pickle *p, const char *module, size_t module_bytes, const char *name,
                                  size_t name_bytes, uint32_t *out)
{
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (same(module, module_bytes, list[i].module) && same(name, name_bytes, list[i].name))
            return make(p,
                        (ecd_pickle_value){
                            .kind = ECD_PICKLE_GLOBAL, .detail = (uint8_t)list[i].global, .number = list[i].dtype},
                        out);
    return ecd_pickle_fail(p, "the pickle names %.*s.%.*s, expected only what a dictionary of tensors takes",
                           (int)(module_bytes < 100 ? module_bytes : 100), module,
                           (int)(name_bytes < 100 ? name_bytes : 100), name);
}

static bool is_kind(const ecd_pickle *p, uint32_t index, ecd_pickle_kind kind)
{
    return index && p->values[index].kind == kind;
}

static bool is_global(const ecd_pickle *p, uint32_t index, ecd_pickle_global global)
{
    return is_kind(p, index, ECD_PICKLE_GLOBAL) && p->values[index].detail == (uint8_t)global;
}

ecd_status ecd_pickle_storage(ecd_pickle *p, uint32_t id, uint32_t *out)
{
    uint32_t tag = ecd_pickle_item(p, id, 0), type = ecd_pickle_item(p, id, 1), key = ecd_pickle_item(p, id, 2),
             elements = ecd_pickle_item(p, id, 4);
    if (!is_kind(p, tag, ECD_PICKLE_TEXT) ||
        !same((const char *)p->values[tag].text, p->values[tag].count, "storage") ||
        !is_global(p, type, ECD_PICKLE_STORAGE_TYPE) || !is_kind(p, key, ECD_PICKLE_TEXT) ||
        !is_kind(p, elements, ECD_PICKLE_INT) || p->values[elements].number < 0)
        return ecd_pickle_fail(p, "bad storage, expected ('storage', type, key, location, elements)");
    return make(p,
                (ecd_pickle_value){.kind = ECD_PICKLE_STORAGE,
                                   .detail = (uint8_t)p->values[type].number,
                                   .first = key,
                                   .number = p->values[elements].number},
                out);
}

static ecd_status rebuild_tensor(ecd_pickle *p, uint32_t arguments, bool with_dtype, uint32_t *out)
{
    uint32_t storage = ecd_pickle_item(p, arguments, 0), offset = ecd_pickle_item(p, arguments, 1),
             sizes = ecd_pickle_item(p, arguments, 2), strides = ecd_pickle_item(p, arguments, 3),
             dtype = ecd_pickle_item(p, arguments, 6);
    if (!is_kind(p, storage, ECD_PICKLE_STORAGE) || !is_kind(p, offset, ECD_PICKLE_INT) ||
        p->values[offset].number < 0 || !is_kind(p, sizes, ECD_PICKLE_TUPLE) || !is_kind(p, strides, ECD_PICKLE_TUPLE))
        return ecd_pickle_fail(p, "bad tensor, expected (storage, offset, sizes, strides, ...)");
    if (with_dtype && !is_global(p, dtype, ECD_PICKLE_DTYPE))
        return ecd_pickle_fail(p, "bad tensor, expected its dtype as the seventh argument");
    return make(p,
                (ecd_pickle_value){.kind = ECD_PICKLE_TENSOR,
                                   .detail = with_dtype ? (uint8_t)p->values[dtype].number : p->values[storage].detail,
                                   .first = storage,
                                   .last = sizes,
                                   .count = strides,
                                   .number = p->values[offset].number},
                out);
}

// The first argument, which must be of `kind`.
static ecd_status pass_first(ecd_pickle *p, uint32_t arguments, ecd_pickle_kind kind, const char *what, uint32_t *out)
{
    *out = ecd_pickle_item(p, arguments, 0);
    return is_kind(p, *out, kind) ? ECD_OK : ecd_pickle_fail(p, "bad argument, expected %s", what);
}

ecd_status ecd_pickle_call(ecd_pickle *p, uint32_t function, uint32_t arguments, bool construct, uint32_t *out)
{
    if (!is_kind(p, function, ECD_PICKLE_GLOBAL) || !is_kind(p, arguments, ECD_PICKLE_TUPLE))
        return ecd_pickle_fail(p, "the pickle calls something else, expected a function and a tuple");
    switch (p->values[function].detail) {
    case ECD_PICKLE_ORDERED_DICT:
        if (p->values[arguments].count)
            return ecd_pickle_fail(p, "a dictionary made from arguments, expected none");
        return make(p, (ecd_pickle_value){.kind = ECD_PICKLE_DICT}, out);
    case ECD_PICKLE_NAMESPACE:
    case ECD_PICKLE_DEVICE: return make(p, (ecd_pickle_value){.kind = ECD_PICKLE_INERT}, out);
    case ECD_PICKLE_REBUILD_V2:
    case ECD_PICKLE_REBUILD_V3:
        if (construct)
            break;
        return rebuild_tensor(p, arguments, p->values[function].detail == ECD_PICKLE_REBUILD_V3, out);
    case ECD_PICKLE_REBUILD_PARAMETER: return pass_first(p, arguments, ECD_PICKLE_TENSOR, "a tensor", out);
    case ECD_PICKLE_SIZE: return pass_first(p, arguments, ECD_PICKLE_TUPLE, "a tuple of sizes", out);
    }
    return ecd_pickle_fail(p, "the pickle calls a type, expected one of torch's functions that rebuild tensors");
}
