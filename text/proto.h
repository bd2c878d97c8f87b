// A reader of protobuf's wire format: one message's fields, one after the other.
// Source: protobuf.dev, "Encoding". Groups, which are long deprecated, are refused.
#ifndef ECD_TEXT_PROTO_H
#define ECD_TEXT_PROTO_H

#include "base/status.h"

typedef struct ecd_proto {
    const uint8_t *data;
    size_t size, at;
    uint64_t base_offset; // of data in its file, for messages
} ecd_proto;

typedef enum ecd_proto_type {
    ECD_PROTO_VARINT = 0,
    ECD_PROTO_FIXED64 = 1,
    ECD_PROTO_BYTES = 2,
    ECD_PROTO_FIXED32 = 5,
} ecd_proto_type;

typedef struct ecd_proto_field {
    uint32_t number;
    ecd_proto_type type;
    uint64_t value;   // VARINT, FIXED64, FIXED32
    ecd_proto bytes;  // BYTES: a message of its own, or a string
} ecd_proto_field;

// The next field; *more false at the end. ECD_DATA with the place of a field that reaches beyond the message.
ecd_status ecd_proto_next(ecd_proto *proto, ecd_proto_field *field, bool *more, ecd_diag *diag);

float ecd_proto_float(const ecd_proto_field *field); // of a FIXED32

// ECD_DATA naming the field unless it has the type.
ecd_status ecd_proto_expect(const ecd_proto *proto, const ecd_proto_field *field, ecd_proto_type type, ecd_diag *diag);

#endif
