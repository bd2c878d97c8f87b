# The cuda backend without a GPU: its kernels on the emulator, its host code against fakes of cuBLASLt and cuDNN.
set(cuda_dir ${PROJECT_SOURCE_DIR}/kernels/cuda)
set(cuda_decoders ${cuda_dir}/ecf8_decode.cu ${cuda_dir}/ecf8_product.cu ${cuda_dir}/ecf8_published.cu)
set(cuda_kernels ${cuda_dir}/attention.cu ${cuda_dir}/attention_mma.cu ${cuda_dir}/attention_wide.cu
    ${cuda_dir}/elementwise.cu ${cuda_dir}/group_norm.cu ${cuda_dir}/layout.cu
    ${cuda_dir}/norm.cu ${cuda_dir}/quantize.cu ${cuda_dir}/weights.cu)
set(cuda_host ${cuda_dir}/choices.c ${cuda_dir}/coded.c ${cuda_dir}/coded_linear.c ${cuda_dir}/conv.c ${cuda_dir}/cublaslt.c ${cuda_dir}/cuda.c ${cuda_dir}/cudnn.c ${cuda_dir}/decode.c
    ${cuda_dir}/ecf8_plan.c
    ${cuda_dir}/library.c ${cuda_dir}/linear.c ${cuda_dir}/memory.c ${cuda_dir}/ops.c ${cuda_dir}/queues.c
    ${cuda_dir}/sequence.c ${cuda_dir}/sequence_step.c ${cuda_dir}/timing.c)

# The host's code and the libraries' fakes, with the stand-ins for the toolkit's headers before them.
add_library(ecd_cuda_host_objects OBJECT ${cuda_host} cuda_fake/fake.c cuda_fake/cublaslt_fake.c cuda_fake/cudnn_fake.c)
target_include_directories(ecd_cuda_host_objects PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/cuda_emu/include ${PROJECT_SOURCE_DIR})

# What whole models ask of the libraries, by sizes alone: no emulator, no device memory that can be read.
set_source_files_properties(cuda_fake/device_none.c PROPERTIES COMPILE_OPTIONS -Wno-unused-parameter)
ecd_test(test_cuda_shapes SOURCES cuda_fake/test_cuda_shapes.c cuda_fake/device_none.c
    LINK ecd_cuda_host_objects ecd_kernels ecf8 ecd_base ${CMAKE_DL_LIBS})
target_include_directories(test_cuda_shapes BEFORE PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/cuda_emu/include)
set_target_properties(test_cuda_shapes PROPERTIES LINKER_LANGUAGE C ENABLE_EXPORTS ON)

if(TARGET ecd_cuda_emu)
    ecd_emulated_kernels(ecd_cuda_kernels_emulated ${cuda_kernels}) # the decoders are cuda_emu.cmake's
    add_library(ecd_cuda_host_emulated STATIC $<TARGET_OBJECTS:ecd_cuda_host_objects> cuda_fake/device_emulated.c)
    target_link_libraries(ecd_cuda_host_emulated PUBLIC ecd_cuda_emu ecd_kernels ecf8 ecd_base ${CMAKE_DL_LIBS})

    # The same without the emulator's look at each access, for whole models: faster, and each kernel is looked at above.
    add_library(ecd_cuda_kernels_unchecked OBJECT ${cuda_kernels} ${cuda_decoders})
    target_include_directories(ecd_cuda_kernels_unchecked PRIVATE ${PROJECT_SOURCE_DIR}
        ${PROJECT_SOURCE_DIR}/tests/cuda_emu/include)
    set_target_properties(ecd_cuda_kernels_unchecked PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS ON)
    target_compile_options(ecd_cuda_kernels_unchecked PRIVATE -include tests/cuda_emu/cuda_emu.h -O2 -fno-exceptions
        -fno-rtti -fno-sanitize=all -Wno-unknown-pragmas -Wno-unused-function)

    # ecd_cuda_program(NAME KERNELS DEFINITION ...): the fakes are found as symbols of the program itself.
    function(ecd_cuda_program name kernels)
        set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C ENABLE_EXPORTS ON)
        if(kernels STREQUAL "ecd_cuda_kernels_emulated")
            list(APPEND kernels ecd_cuda_ecf8_emulated)
        endif()
        target_link_libraries(${name} PRIVATE ${kernels}
            -Wl,--whole-archive ecd_cuda_host_emulated -Wl,--no-whole-archive ecd_cuda_emu)
        target_compile_definitions(${name} PRIVATE ECD_CUDA_EMULATED ${ARGN})
    endfunction()

    add_executable(ecd_check_cuda_emulated check/main_cuda.c check/mirror.c)
    target_link_libraries(ecd_check_cuda_emulated PRIVATE ecd_check_cases)
    ecd_cuda_program(ecd_check_cuda_emulated ecd_cuda_kernels_emulated)
    foreach(type f32 bf16)
        add_test(NAME check_cuda_${type} COMMAND ecd_check_cuda_emulated ${type})
        set_tests_properties(check_cuda_${type} PROPERTIES LABELS check TIMEOUT 300)
    endforeach()

    ecd_test(test_cuda_backend SOURCES cuda_fake/test_cuda_backend.c LINK ecd_pipeline)
    ecd_cuda_program(test_cuda_backend ecd_cuda_kernels_unchecked)
    ecd_test(test_cuda_coded SOURCES cuda_fake/test_cuda_coded.c LINK ecd_weights)
    ecd_cuda_program(test_cuda_coded ecd_cuda_kernels_unchecked)

    ecd_test(test_cuda_store SOURCES cuda_fake/test_cuda_store.c LINK ecd_pipeline)
    ecd_cuda_program(test_cuda_store ecd_cuda_kernels_unchecked)

    # The program as a user meets it where there is a device.
    add_executable(ecdit_emulated ${PROJECT_SOURCE_DIR}/app/main.c cuda_fake/backend.c cuda_fake/program_faults.c)
    target_include_directories(ecdit_emulated PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(ecdit_emulated PRIVATE ecd_app)
    ecd_cuda_program(ecdit_emulated ecd_cuda_kernels_unchecked)
    add_test(NAME cli_device
        COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cli/run.sh $<TARGET_FILE:ecdit_emulated> ${CMAKE_CURRENT_SOURCE_DIR}/cli/device.case)
    set_tests_properties(cli_device PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)
    add_test(NAME gpu_script COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/gpu/emulated.sh ${PROJECT_BINARY_DIR})
    set_tests_properties(gpu_script PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)

    ecd_test(test_cuda_choices SOURCES cuda_fake/test_cuda_choices.c LINK ecd_kernels ecf8)
    ecd_cuda_program(test_cuda_choices ecd_cuda_kernels_unchecked)
    ecd_test(test_cuda_graphs SOURCES cuda_fake/test_cuda_graphs.c LINK ecd_pipeline)
    ecd_cuda_program(test_cuda_graphs ecd_cuda_kernels_unchecked)

    ecd_test(test_cuda_fp8 SOURCES cuda_fake/test_cuda_fp8.c LINK ecd_pipeline)
    ecd_cuda_program(test_cuda_fp8 ecd_cuda_kernels_emulated)

    add_executable(cuda_bandwidth_emulated bench/cuda_bandwidth.c bench/weights_like.c cuda_fake/backend.c)
    target_include_directories(cuda_bandwidth_emulated PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(cuda_bandwidth_emulated PRIVATE ecd_weights)
    ecd_cuda_program(cuda_bandwidth_emulated ecd_cuda_kernels_unchecked)
    add_executable(cuda_decode_emulated EXCLUDE_FROM_ALL bench/cuda_decode.c bench/weights_like.c)
    ecd_cuda_program(cuda_decode_emulated ecd_cuda_kernels_unchecked)

    # Tests of the cpu backend, with the emulated device in its place (cuda_fake/backend.c).
    function(ecd_test_on_cuda name)
        cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
        ecd_test(${name} SOURCES ${ARG_SOURCES} cuda_fake/backend.c LINK ${ARG_LINK})
        ecd_cuda_program(${name} ecd_cuda_kernels_unchecked ECD_CUDA_AS_CPU)
    endfunction()
    ecd_test_on_cuda(test_dit_cuda SOURCES unit/test_dit.c LINK ecd_dit)
    ecd_test_on_cuda(test_flux_cuda SOURCES unit/test_flux.c LINK ecd_pipeline)
    ecd_test_on_cuda(test_pipeline_cuda SOURCES unit/test_pipeline.c LINK ecd_pipeline)
    ecd_test_on_cuda(test_text_encoder_cuda SOURCES unit/test_text_encoder.c LINK ecd_text)
    ecd_test_on_cuda(test_vae_cuda SOURCES unit/test_vae.c LINK ecd_vae)
endif()

# On a machine with a GPU, by hand or by tests/gpu.sh: the same checks and tests with the machine's own device and libraries. They
# run in the sources' folder, wherever that is: they may have been built on another machine.
if(TARGET ecd_cuda)
    function(ecd_device_program name)
        cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
        add_executable(${name} EXCLUDE_FROM_ALL ${ARG_SOURCES})
        target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
        target_compile_definitions(${name} PRIVATE ECD_CUDA_AS_CPU ECD_TEST_DATA="tests/data")
        target_link_libraries(${name} PRIVATE ${ARG_LINK})
        list(APPEND device_programs ${name})
        set(device_programs ${device_programs} PARENT_SCOPE)
    endfunction()
    ecd_device_program(ecd_check_device LINK ecd_check_cases ecd_kernels SOURCES check/main_cuda.c check/mirror.c)
    ecd_device_program(test_dit_device SOURCES unit/test_dit.c cuda_fake/backend.c LINK ecd_dit ecd_cmocka)
    ecd_device_program(test_flux_device SOURCES unit/test_flux.c cuda_fake/backend.c LINK ecd_pipeline ecd_cmocka)
    ecd_device_program(test_pipeline_device SOURCES unit/test_pipeline.c cuda_fake/backend.c LINK ecd_pipeline ecd_cmocka)
    ecd_device_program(test_vae_device SOURCES unit/test_vae.c cuda_fake/backend.c LINK ecd_vae ecd_cmocka)
    ecd_device_program(test_text_encoder_device SOURCES unit/test_text_encoder.c cuda_fake/backend.c LINK ecd_text ecd_cmocka)
    ecd_device_program(test_graphs_device SOURCES cuda_fake/test_cuda_graphs.c LINK ecd_pipeline ecd_cmocka)
    ecd_device_program(test_fp8_device SOURCES cuda_fake/test_cuda_fp8.c LINK ecd_pipeline ecd_cmocka)
    ecd_device_program(cuda_bandwidth SOURCES bench/cuda_bandwidth.c bench/weights_like.c LINK ecd_weights)
    add_executable(cuda_decode EXCLUDE_FROM_ALL bench/cuda_decode.c bench/weights_like.c)
    target_include_directories(cuda_decode PRIVATE ${PROJECT_SOURCE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
    target_link_libraries(cuda_decode PRIVATE ecd_cuda m)
    list(APPEND device_programs cuda_decode)
    add_custom_target(ecd_device DEPENDS ecdit ${device_programs})
    # Every number and structure that kernels/cuda declares of the libraries by itself, compared with their headers.
    find_path(ECD_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    find_path(ECD_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    if(ECD_CUDNN_INCLUDE AND ECD_CUBLASLT_INCLUDE)
        add_executable(test_cuda_abi cuda_fake/abi_check.c)
        target_include_directories(test_cuda_abi PRIVATE ${PROJECT_SOURCE_DIR})
        target_include_directories(test_cuda_abi SYSTEM PRIVATE ${ECD_CUDNN_INCLUDE} ${ECD_CUBLASLT_INCLUDE})
        add_test(NAME test_cuda_abi COMMAND test_cuda_abi)
        set_tests_properties(test_cuda_abi PROPERTIES LABELS unit)
    endif()
endif()
