#include "kernels/coded.h"

#include <stdlib.h>

#include "base/process.h"

static void add_place(ecd_diag *diag, const ecd_coded_place *place, uint64_t offset_bytes)
{
    ecd_diag_tensor(diag, place->tensor);
    if (place->path)
        ecd_diag_file(diag, place->path);
    if (place->in_file)
        ecd_diag_offset(diag, place->offset_bytes + offset_bytes);
}

// Of the call or of ECD_CPU, not of the bytes?
static ecd_status kind_of(ecf8_status status)
{
    return status < ECF8_ERR_TRUNCATED ? ECD_USAGE : ECD_DATA;
}

ecd_status ecd_coded_fail(const ecd_coded_place *place, const ecf8_error *error, ecd_diag *diag)
{
    ecd_status status = ecd_fail(diag, kind_of(error->status), "ECF8: %s (%s)",
                                 error->what ? error->what : "bad container", ecf8_status_name(error->status));
    add_place(diag, place, error->offset_bytes);
    return status;
}

ecd_status ecd_coded_fail_published(const ecd_coded_place *places, const ecf8_published_error *error, ecd_diag *diag)
{
    ecd_status status = ecd_fail(diag, kind_of(error->status), "ECF8 0.2.0: expected %s (%s)",
                                 error->what ? error->what : "a good group", ecf8_status_name(error->status));
    add_place(diag, &places[error->part], error->offset_bytes);
    return status;
}

size_t ecd_coded_table_bytes(const ecd_coded *coded)
{
    _Static_assert(ECF8_PUBLISHED_DECODER_BYTES <= ECF8_DECODER_MAX_BYTES, "one bound for both");
    return coded->group ? ECF8_PUBLISHED_DECODER_BYTES : ecf8_decoder_bytes(&coded->view);
}

ecd_status ecd_coded_decoder_init(const ecd_coded *coded, void *tables, size_t table_bytes, ecd_coded_decoder *out,
                                  ecd_diag *diag)
{
    ecf8_error error = {0};
    ecf8_published_error published = {0};
    if (coded->group) {
        if (ecf8_published_decoder_init(&out->published, coded->group, tables, table_bytes, &published))
            return ecd_coded_fail_published(coded->group_places, &published, diag);
    } else if (ecf8_decoder_init(&out->container, &coded->view, tables, table_bytes, ECF8_CPU_AUTO, &error)) {
        return ecd_coded_fail(&coded->place, &error, diag);
    }
    return ECD_OK;
}

ecd_status ecd_coded_decode_range(const ecd_coded *coded, const ecd_coded_decoder *decoder, uint64_t first,
                                  uint64_t count, void *out, uint64_t out_bytes, bool verify, ecd_diag *diag)
{
    ecf8_error error = {0};
    ecf8_published_error published = {0};
    const unsigned flags = verify ? ECF8_VERIFY : 0;
    if (first > coded->count || count > coded->count - first) { // a group, or a container, may reach further
        ecd_status status =
            ecd_fail(diag, ECD_DATA, "a range beyond the tensor's %llu weights", (unsigned long long)coded->count);
        add_place(diag, &coded->place, 0);
        return status;
    }
    if (coded->group) {
        if (ecf8_published_decode(&decoder->published, coded->first + first, count, out, out_bytes, flags, &published))
            return ecd_coded_fail_published(coded->group_places, &published, diag);
    } else if (ecf8_decode_weights(&decoder->container, coded->first + first, count, NULL, out, out_bytes, flags,
                                   &error)) {
        return ecd_coded_fail(&coded->place, &error, diag);
    }
    return ECD_OK;
}

ecd_status ecd_coded_decode(const ecd_coded *coded, void *out, bool verify, void *tables, size_t table_bytes,
                            ecd_diag *diag)
{
    ecd_coded_decoder decoder;
    ecd_status status = ecd_coded_decoder_init(coded, tables, table_bytes, &decoder, diag);
    return status ? status
                  : ecd_coded_decode_range(coded, &decoder, 0, coded->count, out,
                                           coded->count * ecd_dtype_size(coded->dtype), verify, diag);
}

void ecd_coded_use(ecd_backend *be, ecd_coded *coded, void *out)
{
    uint64_t start = ecd_now_ns();
    bool verify = coded->check || !atomic_load(&coded->proven);
    void *tables = malloc(ECF8_DECODER_MAX_BYTES);
    ecd_diag diag = {0};
    if (!tables)
        ecd_fail_memory(&diag, ECF8_DECODER_MAX_BYTES, "the tables that decode a weight");
    else if (!ecd_coded_decode(coded, out, verify, tables, ECF8_DECODER_MAX_BYTES, &diag))
        atomic_store(&coded->proven, true);
    free(tables);
    atomic_fetch_add(&coded->use_ns, ecd_now_ns() - start);
    if (diag.status)
        ecd_backend_keep(be, &diag);
}

bool ecd_coded_expand(ecd_backend *be, const ecd_weight *w, ecd_weight *out, void **memory)
{
    *out = *w;
    *memory = NULL;
    if (!w->coded)
        return true;
    uint64_t size = w->coded->count * ecd_dtype_size(w->dtype);
    *memory = malloc(size + 1);
    if (!*memory) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %llu bytes for a decoded weight", (unsigned long long)size);
        return false;
    }
    ecd_coded_use(be, w->coded, *memory);
    out->data = *memory;
    out->coded = NULL;
    return ecd_backend_ok(be);
}
