# The cuda backend without a GPU: its kernels on the emulator, its host code against fakes of cuBLASLt and cuDNN.
if(TARGET ecd_cuda_emu)
    set(cuda_dir ${PROJECT_SOURCE_DIR}/kernels/cuda)
    set(cuda_kernels ${cuda_dir}/attention.cu ${cuda_dir}/attention_mma.cu ${cuda_dir}/elementwise.cu
        ${cuda_dir}/group_norm.cu ${cuda_dir}/layout.cu ${cuda_dir}/norm.cu ${cuda_dir}/weights.cu)
    set(cuda_host ${cuda_dir}/conv.c ${cuda_dir}/cublaslt.c ${cuda_dir}/cuda.c ${cuda_dir}/cudnn.c
        ${cuda_dir}/library.c ${cuda_dir}/linear.c ${cuda_dir}/ops.c)
    ecd_emulated_kernels(ecd_cuda_kernels_emulated ${cuda_kernels})
    add_library(ecd_cuda_host_emulated STATIC ${cuda_host} cuda_fake/fake.c cuda_fake/cublaslt_fake.c
        cuda_fake/cudnn_fake.c cuda_fake/device_emulated.c)
    target_link_libraries(ecd_cuda_host_emulated PUBLIC ecd_cuda_emu ecd_kernels ecd_base ${CMAKE_DL_LIBS})

    # The fakes are found as symbols of the program itself.
    function(ecd_cuda_program name)
        set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C ENABLE_EXPORTS ON)
        target_link_libraries(${name} PRIVATE ecd_cuda_kernels_emulated
            -Wl,--whole-archive ecd_cuda_host_emulated -Wl,--no-whole-archive ecd_cuda_emu)
        target_compile_definitions(${name} PRIVATE ECD_CUDA_EMULATED)
    endfunction()

    add_executable(ecd_check_cuda_emulated check/main_cuda.c check/mirror.c check/check.c check/linear.c check/vision.c
        check/layout.c check/rope.c check/batch.c)
    ecd_cuda_program(ecd_check_cuda_emulated)
    foreach(type f32 bf16)
        add_test(NAME check_cuda_${type} COMMAND ecd_check_cuda_emulated ${type})
        set_tests_properties(check_cuda_${type} PROPERTIES LABELS check TIMEOUT 300)
    endforeach()
endif()
