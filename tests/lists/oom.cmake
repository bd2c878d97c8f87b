# tests/oom: the Nth allocation fails, for each N. Programs that link ecd_oom have their allocations redirected to it.
add_library(ecd_oom STATIC oom/oom.c)
target_include_directories(ecd_oom PUBLIC ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
pkg_check_modules(OOM_CJSON REQUIRED IMPORTED_TARGET libcjson)
find_package(Threads REQUIRED)
target_link_libraries(ecd_oom PUBLIC ecd_base PkgConfig::OOM_CJSON Threads::Threads)
foreach(call malloc calloc realloc free posix_memalign aligned_alloc strdup strndup asprintf vasprintf mmap munmap
        pthread_create)
    target_link_options(ecd_oom INTERFACE -Wl,--wrap=${call})
endforeach()

ecd_test(oom_selftest SOURCES oom/oom_selftest.c LINK ecd_oom ecd_base LABELS oom)
ecd_test(oom_weights_test SOURCES oom/oom_weights_test.c LINK ecd_vae ecd_weights ecd_oom LABELS oom TIMEOUT 600)
ecd_test(oom_component_test SOURCES oom/oom_component_test.c unit/single_file.c LINK ecd_weights ecd_oom LABELS oom TIMEOUT 600)
ecd_test(oom_pipeline_test SOURCES oom/oom_pipeline_test.c LINK ecd_pipeline ecd_dit ecd_vae ecd_weights ecd_oom LABELS oom TIMEOUT 600)
ecd_test(oom_text_test SOURCES oom/oom_text_test.c LINK ecd_text ecd_weights ecd_oom LABELS oom TIMEOUT 600)
ecd_test(oom_generate_test SOURCES oom/oom_generate_test.c LINK ecd_app ecd_pipeline ecd_dit ecd_vae ecd_text ecd_weights ecd_oom LABELS oom TIMEOUT 600)
ecd_test(oom_ecdit_test SOURCES oom/oom_ecdit_test.c LINK ecd_lib ecd_pipeline ecd_dit ecd_vae ecd_text ecd_weights ecd_oom LABELS oom TIMEOUT 600)
