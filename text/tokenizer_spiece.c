// spiece.model: sentencepiece's ModelProto (src/sentencepiece_model.proto) of a unigram model.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "text/proto.h"
#include "text/tokenizer_internal.h"
#include "text/utf8.h"

enum { MODEL_UNIGRAM = 1 };
enum { PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_USER = 4, PIECE_UNUSED = 5, PIECE_BYTE = 6 };

typedef struct piece {
    ecd_proto text;
    float score;
    uint64_t type;
} piece;

typedef struct reading {
    ecd_tokenizer *t;
    ecd_normalize_step *spiece;
    size_t scores_capacity;
    uint64_t model_type, end_id, pad_id;
    bool normalizer; // normalizer_spec was there
} reading;

static ecd_status read_piece_fields(ecd_proto message, piece *out, ecd_diag *diag)
{
    ecd_proto_field field;
    bool more = true;
    ecd_status status = ECD_OK;
    *out = (piece){.type = PIECE_NORMAL};
    while (!status && !(status = ecd_proto_next(&message, &field, &more, diag)) && more) {
        if (field.number == 1 && !(status = ecd_proto_expect(&message, &field, ECD_PROTO_BYTES, diag)))
            out->text = field.bytes;
        else if (field.number == 2 && !(status = ecd_proto_expect(&message, &field, ECD_PROTO_FIXED32, diag)))
            out->score = ecd_proto_float(&field);
        else if (field.number == 3 && !(status = ecd_proto_expect(&message, &field, ECD_PROTO_VARINT, diag)))
            out->type = field.value;
    }
    return status;
}

static ecd_status add_score(reading *r, float score, ecd_diag *diag)
{
    ecd_unigram *u = &r->t->unigram;
    double *scores = ecd_grow(u->scores, (size_t)u->limit + 1, &r->scores_capacity, sizeof *scores);
    if (!scores)
        return ecd_fail_memory(diag, ((size_t)u->limit + 1) * sizeof *scores, "scores");
    u->scores = scores;
    u->scores[u->limit++] = (double)score;
    return ECD_OK;
}

static ecd_status check_piece(const piece *p, int32_t id, ecd_diag *diag)
{
    if (ecd_utf8_check((const char *)p->text.data, p->text.size, NULL))
        return ecd_fail(diag, ECD_DATA, "piece %d is no valid UTF-8", (int)id);
    if (!isfinite(p->score))
        return ecd_fail(diag, ECD_DATA, "piece %d has no finite score", (int)id);
    if (p->type == PIECE_USER || p->type == PIECE_BYTE)
        return ecd_fail(diag, ECD_DATA, "piece %d is %s, which is not supported", (int)id,
                        p->type == PIECE_USER ? "user-defined" : "a byte");
    if (p->type < PIECE_NORMAL || p->type > PIECE_BYTE)
        return ecd_fail(diag, ECD_DATA, "piece %d has the unknown type %llu", (int)id, (unsigned long long)p->type);
    return ECD_OK;
}

static ecd_status read_piece(ecd_proto message, reading *r, ecd_diag *diag)
{
    piece p;
    ecd_unigram *u = &r->t->unigram;
    int32_t id = u->limit;
    ecd_status status = read_piece_fields(message, &p, diag);
    const char *text = (const char *)p.text.data;
    if (status || (status = check_piece(&p, id, diag)) ||
        (status = ecd_vocab_add(&r->t->vocab, text, p.text.size, id, diag)) || (status = add_score(r, p.score, diag)))
        goto out;
    if (p.type == PIECE_NORMAL) {
        status = ecd_vocab_add(&u->pieces, text, p.text.size, id, diag);
        u->least = (double)p.score < u->least ? (double)p.score : u->least;
    } else if (p.type == PIECE_UNKNOWN) {
        if (u->unknown >= 0)
            status = ecd_fail(diag, ECD_DATA, "pieces %d and %d are both the unknown one", (int)u->unknown, (int)id);
        u->unknown = id;
    }
out:
    if (status)
        ecd_diag_offset(diag, message.base_offset);
    return status;
}

// trainer_spec: which model it is, and the special ids.
static ecd_status read_trainer(ecd_proto message, reading *r, ecd_diag *diag)
{
    ecd_proto_field field;
    bool more = true;
    ecd_status status = ECD_OK;
    while (!status && !(status = ecd_proto_next(&message, &field, &more, diag)) && more) {
        if (field.number == 3 && !(status = ecd_proto_expect(&message, &field, ECD_PROTO_VARINT, diag)))
            r->model_type = field.value;
        else if (field.number == 24 && field.value)
            status = ecd_fail(diag, ECD_DATA, "treat_whitespace_as_suffix is not supported");
        else if (field.number == 35 && field.value)
            status = ecd_fail(diag, ECD_DATA, "byte_fallback is not supported");
        else if (field.number == 42)
            r->end_id = field.value;
        else if (field.number == 43)
            r->pad_id = field.value;
    }
    return status;
}

static ecd_status read_normalizer(ecd_proto message, reading *r, ecd_diag *diag)
{
    ecd_proto_field field;
    bool more = true;
    ecd_status status = ECD_OK;
    ecd_normalize_step *step = r->spiece;
    if (r->normalizer)
        return ecd_fail(diag, ECD_DATA, "normalizer_spec comes twice");
    r->normalizer = true;
    while (!status && !(status = ecd_proto_next(&message, &field, &more, diag)) && more) {
        bool *flag = field.number == 3   ? &step->prefix_space
                     : field.number == 4 ? &step->one_space
                     : field.number == 5 ? &step->escape_space
                                         : NULL;
        if (flag && !(status = ecd_proto_expect(&message, &field, ECD_PROTO_VARINT, diag)))
            *flag = field.value != 0;
        if (field.number != 2 || status || (status = ecd_proto_expect(&message, &field, ECD_PROTO_BYTES, diag)))
            continue;
        ecd_charsmap_free(&step->map);
        if (field.bytes.size)
            status = ecd_charsmap_new(field.bytes.data, field.bytes.size, &step->map, diag);
        if (status)
            ecd_diag_offset(diag, field.bytes.base_offset);
    }
    return status;
}

static ecd_status read_model(ecd_proto message, reading *r, ecd_diag *diag)
{
    ecd_proto_field field;
    bool more = true;
    ecd_status status = ECD_OK;
    while (!status && !(status = ecd_proto_next(&message, &field, &more, diag)) && more) {
        if (field.number < 1 || field.number > 3)
            continue;
        if ((status = ecd_proto_expect(&message, &field, ECD_PROTO_BYTES, diag)))
            break;
        status = field.number == 1   ? read_piece(field.bytes, r, diag)
                 : field.number == 2 ? read_trainer(field.bytes, r, diag)
                                     : read_normalizer(field.bytes, r, diag);
    }
    return status;
}

static ecd_status check_model(const reading *r, ecd_diag *diag)
{
    ecd_unigram *u = &r->t->unigram;
    if (!u->pieces.count)
        return ecd_fail(diag, ECD_DATA, "no pieces: this is no sentencepiece model");
    if (r->model_type != MODEL_UNIGRAM)
        return ecd_fail(diag, ECD_DATA, "the model is of type %llu, expected %d (unigram)", (unsigned long long)r->model_type,
                        MODEL_UNIGRAM);
    if (u->unknown < 0)
        return ecd_fail(diag, ECD_DATA, "no piece is the unknown one");
    if (r->end_id >= (uint64_t)u->limit)
        return ecd_fail(diag, ECD_DATA, "eos_id is %lld, expected 0 to %d", (long long)r->end_id, (int)u->limit - 1);
    return ECD_OK;
}

ecd_status ecd_tokenizer_read_spiece(const void *data, size_t size, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_status status;
    // Defaults as in sentencepiece_model.proto, the end as T5 has it: all models that name another write it down.
    reading r = {.t = t, .spiece = &t->normalizer.steps[0], .model_type = MODEL_UNIGRAM, .end_id = 2, .pad_id = UINT64_MAX};
    *r.spiece = (ecd_normalize_step){.kind = ECD_NORMALIZE_SPIECE, .prefix_space = true, .one_space = true,
                                     .escape_space = true};
    t->normalizer.count = 1;
    t->kind = ECD_MODEL_UNIGRAM;
    t->unigram = (ecd_unigram){.unknown = -1, .least = HUGE_VAL, .single = true};
    if ((status = read_model((ecd_proto){.data = data, .size = size}, &r, diag)) || (status = check_model(&r, diag)) ||
        (status = ecd_vocab_finish(&t->vocab, diag)) || (status = ecd_vocab_finish(&t->unigram.pieces, diag)))
        return status;
    t->behind[t->behind_count++] = (int32_t)r.end_id;
    if (r.pad_id < (uint64_t)t->unigram.limit)
        t->pad = (int32_t)r.pad_id;
    return ECD_OK;
}
