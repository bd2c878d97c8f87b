# Fuzz targets. Their corpora, seeds and what fuzzing found, are replayed as tests. To fuzz:
#   cmake --preset fuzz && cmake --build --preset fuzz
#   build/fuzz/tests/fuzz_pickle -max_total_time=240 NEW_FOLDER tests/fuzz/corpus/pickle
option(ECD_FUZZ "Build libFuzzer programs; needs clang with -fsanitize=fuzzer-no-link in CMAKE_C_FLAGS" OFF)

function(ecd_fuzz_target name)
    file(GLOB inputs CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name}/*)
    ecd_test(fuzz_${name}_replay SOURCES fuzz/fuzz_${name}.c fuzz/replay.c LINK ${ARGN} LABELS fuzz ARGS ${inputs})
    if(ECD_FUZZ)
        add_executable(fuzz_${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/fuzz_${name}.c)
        target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR})
        target_link_libraries(fuzz_${name} PRIVATE ${ARGN})
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    endif()
endfunction()

ecd_fuzz_target(safetensors ecd_weights)
ecd_fuzz_target(component ecd_weights)
ecd_fuzz_target(pickle ecd_weights)
ecd_fuzz_target(json ecd_weights)
ecd_fuzz_target(png ecd_app)
ecd_fuzz_target(tokenizer ecd_text)
if(ECD_FUZZ)
    add_executable(fuzz_ecf8 ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/fuzz_ecf8.c) # replayed by the codec's list
    target_include_directories(fuzz_ecf8 PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(fuzz_ecf8 PRIVATE ecf8)
    target_link_options(fuzz_ecf8 PRIVATE -fsanitize=fuzzer)
endif()
ecd_fuzz_target(published ecf8)
