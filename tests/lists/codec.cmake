ecd_test(test_ecf8 SOURCES unit/test_ecf8.c unit/ecf8_v512_emulated.c LINK ecf8 LABELS unit)

# The seeds and what fuzzing found, replayed. Fuzzing itself: clang -fsanitize=fuzzer,address,undefined with fuzz_ecf8.c and
# the sources of codec/ (those of an instruction set with their flags).
file(GLOB ecf8_seeds ${CMAKE_CURRENT_SOURCE_DIR}/data/ecf8/*.ecf8)
ecd_test(fuzz_ecf8_replay SOURCES fuzz/fuzz_ecf8.c LINK ecf8 LABELS fuzz ARGS ${ecf8_seeds})
if(TARGET fuzz_ecf8_replay)
    target_compile_definitions(fuzz_ecf8_replay PRIVATE ECF8_FUZZ_MAIN)
endif()
