# Every operation of every level against ref, and its bits against the other levels. A level that this CPU lacks is
# skipped, and says so. "plain" is the scalar level as CPUs without fused multiply-adds run it, "wide" AVX-512's template.
add_library(ecd_check_cases OBJECT EXCLUDE_FROM_ALL check/check.c check/linear.c check/vision.c check/layout.c check/rope.c
    check/batch.c check/combine.c check/place.c)
target_include_directories(ecd_check_cases PRIVATE ${PROJECT_SOURCE_DIR})
add_executable(ecd_check check/main_cpu.c check/coded.c check/bench.c)
target_link_libraries(ecd_check PRIVATE ecd_check_cases ecd_kernels)
if(TARGET ecd_kernels_wide)
    target_compile_definitions(ecd_check PRIVATE ECD_CHECK_WIDE)
    target_sources(ecd_check PRIVATE $<TARGET_OBJECTS:ecd_kernels_wide>)
endif()
if(CMAKE_C_FLAGS MATCHES "-fsanitize") # those passes do not run it (tests/run.sh), and its templates take minutes to compile
    set_target_properties(ecd_check PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
foreach(level scalar avx2 avx512)
    add_test(NAME check_${level} COMMAND ecd_check)
    set_tests_properties(check_${level} PROPERTIES ENVIRONMENT "ECD_CPU=${level}")
endforeach()
add_test(NAME check_plain COMMAND ecd_check plain)
add_test(NAME check_wide COMMAND ecd_check wide)
add_test(NAME check_onednn COMMAND ecd_check onednn)
set_tests_properties(check_scalar check_avx2 check_avx512 check_plain check_wide check_onednn
    PROPERTIES SKIP_RETURN_CODE 77 LABELS check TIMEOUT 300)

# Times own kernels against oneDNN 3, by hand: OMP_NUM_THREADS=1 ecd_onednn_bench.
if(ECD_ONEDNN)
    find_package(OneDNN 3 QUIET)
    if(OneDNN_FOUND)
        add_executable(ecd_onednn_bench EXCLUDE_FROM_ALL check/onednn_bench.c)
        target_link_libraries(ecd_onednn_bench PRIVATE ecd_kernels OneDNN::OneDNN)
    endif()
endif()
