#include "text/proto.h"

#include <string.h>

static ecd_status fault(const ecd_proto *proto, size_t at, ecd_diag *diag, const char *what)
{
    ecd_fail(diag, ECD_DATA, "%s", what);
    ecd_diag_offset(diag, proto->base_offset + at);
    return ECD_DATA;
}

static ecd_status read_varint(ecd_proto *proto, uint64_t *out, ecd_diag *diag)
{
    size_t begin = proto->at;
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (proto->at == proto->size)
            return fault(proto, begin, diag, "a number reaches beyond its message");
        uint8_t byte = proto->data[proto->at++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return ECD_OK;
    }
    return fault(proto, begin, diag, "a number of more than 64 bits");
}

static ecd_status read_fixed(ecd_proto *proto, size_t bytes, uint64_t *out, ecd_diag *diag)
{
    *out = 0;
    if (proto->size - proto->at < bytes)
        return fault(proto, proto->at, diag, "a field reaches beyond its message");
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)proto->data[proto->at++] << (8 * i);
    return ECD_OK;
}

static ecd_status read_bytes(ecd_proto *proto, ecd_proto *out, ecd_diag *diag)
{
    uint64_t length;
    size_t begin = proto->at;
    ecd_status status = read_varint(proto, &length, diag);
    if (status)
        return status;
    if (length > proto->size - proto->at)
        return fault(proto, begin, diag, "a field's length reaches beyond its message");
    *out = (ecd_proto){.data = proto->data + proto->at, .size = (size_t)length, .base_offset = proto->base_offset + proto->at};
    proto->at += (size_t)length;
    return ECD_OK;
}

ecd_status ecd_proto_next(ecd_proto *proto, ecd_proto_field *field, bool *more, ecd_diag *diag)
{
    uint64_t key;
    size_t begin = proto->at;
    *field = (ecd_proto_field){0};
    *more = proto->at < proto->size;
    if (!*more)
        return ECD_OK;
    ecd_status status = read_varint(proto, &key, diag);
    if (status)
        return status;
    if (key >> 3 == 0 || key >> 3 >= UINT32_C(1) << 29)
        return fault(proto, begin, diag, "a field number out of range: this is no protobuf message");
    field->number = (uint32_t)(key >> 3);
    field->type = (ecd_proto_type)(key & 7);
    switch (field->type) {
    case ECD_PROTO_VARINT:
        return read_varint(proto, &field->value, diag);
    case ECD_PROTO_FIXED64:
        return read_fixed(proto, 8, &field->value, diag);
    case ECD_PROTO_BYTES:
        return read_bytes(proto, &field->bytes, diag);
    case ECD_PROTO_FIXED32:
        return read_fixed(proto, 4, &field->value, diag);
    }
    return fault(proto, begin, diag, "a field of an unknown wire type: this is no protobuf message");
}

float ecd_proto_float(const ecd_proto_field *field)
{
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ecd_status ecd_proto_expect(const ecd_proto *proto, const ecd_proto_field *field, ecd_proto_type type, ecd_diag *diag)
{
    if (field->type == type)
        return ECD_OK;
    ecd_fail(diag, ECD_DATA, "field %u has wire type %d, expected %d", (unsigned)field->number, (int)field->type, (int)type);
    ecd_diag_offset(diag, proto->base_offset + proto->at);
    return ECD_DATA;
}
