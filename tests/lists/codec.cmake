ecd_test(test_ecf8 SOURCES unit/test_ecf8.c unit/ecf8_v512_emulated.c LINK ecf8 LABELS unit)
find_package(Threads REQUIRED)
# ThreadSanitizer's pass takes it by its name.
ecd_test(ecf8_threads SOURCES unit/ecf8_threads.c LINK ecf8 Threads::Threads LABELS unit)
ecd_test(test_ecf8_encode SOURCES unit/test_ecf8_encode.c LINK ecf8 Threads::Threads LABELS unit)
ecd_test(test_ecf8_contract SOURCES unit/test_ecf8_contract.c LINK ecf8 Threads::Threads LABELS unit)

# The seeds and what fuzzing found, replayed. Fuzzing itself: clang -fsanitize=fuzzer,address,undefined with fuzz_ecf8.c and
# the sources of codec/ (those of an instruction set with their flags).
file(GLOB ecf8_seeds ${CMAKE_CURRENT_SOURCE_DIR}/data/ecf8/*.ecf8)
ecd_test(fuzz_ecf8_replay SOURCES fuzz/fuzz_ecf8.c LINK ecf8 LABELS fuzz ARGS ${ecf8_seeds})
if(TARGET fuzz_ecf8_replay)
    target_compile_definitions(fuzz_ecf8_replay PRIVATE ECF8_FUZZ_MAIN)
endif()

# Sizes and speeds beside the peers, by hand: ecf8_bench. The test shows that it still runs, and that every row gives
# back the right weights; it times nothing.
add_executable(ecf8_bench bench/ecf8_bench.c bench/ecf8_bench_data.c bench/ecf8_bench_ours.c bench/ecf8_bench_peers.c
    bench/weights_like.c)
target_include_directories(ecf8_bench PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(ecf8_bench PRIVATE _GNU_SOURCE)
pkg_check_modules(ECF8_BENCH_CJSON REQUIRED IMPORTED_TARGET libcjson)
target_link_libraries(ecf8_bench PRIVATE ecf8 PkgConfig::ECF8_BENCH_CJSON Threads::Threads m)
foreach(peer ZSTD LZ4 ZLIB)
    string(TOLOWER ${peer} module)
    if(NOT peer STREQUAL ZLIB)
        string(PREPEND module lib)
    endif()
    pkg_check_modules(ECF8_BENCH_${peer} QUIET IMPORTED_TARGET ${module})
    if(ECF8_BENCH_${peer}_FOUND)
        target_compile_definitions(ecf8_bench PRIVATE ECF8_BENCH_${peer})
        target_link_libraries(ecf8_bench PRIVATE PkgConfig::ECF8_BENCH_${peer})
    endif()
endforeach()
add_test(NAME ecf8_bench_rows COMMAND ecf8_bench --mib 1 --rounds 1)
add_test(NAME ecf8_bench_files COMMAND ecf8_bench --data ${CMAKE_CURRENT_SOURCE_DIR}/data/torch_randn.safetensors --json)
set_tests_properties(ecf8_bench_rows ecf8_bench_files PROPERTIES LABELS unit TIMEOUT 300)
ecd_test(test_published SOURCES unit/test_published.c unit/published_kernel.c LINK ecf8 LABELS unit)

# The library as it is installed, alone and from the tree. Instrumented objects would want their runtime in the examples.
if(NOT CMAKE_C_FLAGS MATCHES "-fsanitize")
    find_program(ECF8_TEST_CXX NAMES c++ g++ clang++)
    if(ECF8_TEST_CXX)
        add_test(NAME ecf8_install COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/ecf8.sh ${PROJECT_BINARY_DIR}
            ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER} ${ECF8_TEST_CXX})
        set_tests_properties(ecf8_install PROPERTIES LABELS install TIMEOUT 600)
    endif()
endif()
