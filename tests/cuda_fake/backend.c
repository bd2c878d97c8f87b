// ecd_backend_open of test programs: "cuda" is the emulated device with the libraries' fakes, or the machine's own where
// this is built for one (ECD_CUDA_EMULATED not defined). With ECD_CUDA_AS_CPU "cpu" is it too, so that tests written for the
// cpu backend run on it as they are.
#include "kernels/backend.h"
#include "kernels/cuda/cuda.h"

ecd_status ecd_backend_open_usual(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag);
#define ecd_backend_open ecd_backend_open_usual
#include "kernels/backend.c"
#undef ecd_backend_open

ecd_status ecd_backend_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    bool wanted = options->name && !strcmp(options->name, "cuda"), stands_in = false;
#if defined(ECD_CUDA_AS_CPU)
    stands_in = options->name && !strcmp(options->name, "cpu");
#endif
    if (!wanted && !stands_in)
        return ecd_backend_open_usual(options, out, diag);
    ecd_cuda_libraries libraries = {0};
#if defined(ECD_CUDA_EMULATED)
    libraries = (ecd_cuda_libraries){"", ""};
#endif
    ecd_backend_options chosen = *options;
    chosen.threads = chosen.threads ? chosen.threads : 1;
    if (stands_in && chosen.compute == ECD_COMPUTE_AUTO)
        chosen.compute = ECD_COMPUTE_F32;
    ecd_status status = ecd_cuda_open_with(&chosen, &libraries, out, diag);
    if (!status && stands_in)
        (*out)->name = "cpu";
    return status;
}
