# .cu files compiled as C++ and run on the CPU: tests/cuda_emu/README.md.
#
#     ecd_emulated_kernels(NAME FILE.cu ...)   an object library of kernels; tests link it and ecd_cuda_emu
#
# The sanitizers' presets go without: ThreadSanitizer's runtime would answer the calls that the emulator answers, and
# AddressSanitizer does not know the fibres' stacks.
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER AND NOT CMAKE_C_FLAGS MATCHES "-fsanitize")
    enable_language(CXX)
    add_library(ecd_cuda_emu STATIC cuda_emu/emu_block.c cuda_emu/emu_bulk.c cuda_emu/emu_check.c cuda_emu/emu_graph.c
        cuda_emu/emu_ptx.c
        cuda_emu/emu_runtime.c)
    target_include_directories(ecd_cuda_emu PUBLIC ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_emu/include)
    # The fibres' stacks are none that the sanitizers know.
    target_compile_options(ecd_cuda_emu PRIVATE -O2 -fno-sanitize=all)

    # -fsanitize=thread makes the compiler call emu_check.c before each load and store; -fsanitize=bounds finds what
    # stays within shared memory but outside of an array, alignment what vectors must not be loaded from. -O1, so that what is written is what is checked.
    function(ecd_emulated_kernels name)
        set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
        add_library(${name} OBJECT ${ARGN})
        target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests/cuda_emu/include)
        set_target_properties(${name} PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS ON)
        target_compile_options(${name} PRIVATE -include tests/cuda_emu/cuda_emu.h -O1 -g1 -fno-exceptions -fno-rtti
            -fno-tree-vectorize -fsanitize=thread -fsanitize=bounds,alignment -fsanitize-undefined-trap-on-error
            -Wno-unknown-pragmas -Wno-unused-function)
    endfunction()

    # Links as C: the kernels use no C++ library.
    function(ecd_emulated_test name)
        ecd_test(${name} ${ARGN})
        set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
    endfunction()

    ecd_emulated_kernels(ecd_cuda_emu_sins cuda_emu/sins.cu)
    ecd_emulated_test(test_cuda_emu SOURCES cuda_emu/test_cuda_emu.c LINK ecd_cuda_emu_sins ecd_cuda_emu LABELS unit)
endif()

if(TARGET ecd_cuda_emu)
    set(ecf8_folder ${PROJECT_SOURCE_DIR}/kernels/cuda)
    ecd_emulated_kernels(ecd_cuda_ecf8_emulated ${ecf8_folder}/ecf8_decode.cu ${ecf8_folder}/ecf8_product.cu
        ${ecf8_folder}/ecf8_published.cu)
    ecd_emulated_test(test_cuda_ecf8 SOURCES check/test_cuda_ecf8.c ${ecf8_folder}/ecf8_plan.c
        LINK ecd_cuda_ecf8_emulated ecd_cuda_emu ecd_base ecf8 LABELS check TIMEOUT 900)
    ecd_emulated_test(test_cuda_product SOURCES check/test_cuda_product.c ${ecf8_folder}/ecf8_plan.c
        LINK ecd_cuda_ecf8_emulated ecd_cuda_emu ecd_base ecf8 LABELS check TIMEOUT 900)
    ecd_emulated_test(test_cuda_published SOURCES check/test_cuda_published.c
        LINK ecd_cuda_ecf8_emulated ecd_cuda_emu ecf8 LABELS check TIMEOUT 900)
endif()
