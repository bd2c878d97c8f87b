ecd_test(test_safetensors unit/test_safetensors.c LIBS ecd_weights)
ecd_test(test_published_model unit/test_published_model.c unit/published_kernel.c LIBS ecd_weights)
ecd_test(test_pickle unit/test_pickle.c unit/test_pickle_zip.c unit/torch_writer.c LIBS ecd_weights)
ecd_test(test_checkpoint unit/test_checkpoint.c unit/torch_writer.c LIBS ecd_weights)
ecd_test(test_component unit/test_component.c unit/single_file.c LIBS ecd_weights)
ecd_test(test_model_folder unit/test_model_folder.c LIBS ecd_weights)
ecd_test(test_store unit/test_store.c unit/store_model.c LIBS ecd_weights)
ecd_test(test_store_budget unit/test_store_budget.c unit/store_model.c LIBS ecd_weights)
target_link_options(test_store_budget PRIVATE -Wl,--wrap=pread) # a disk that fails
ecd_test(test_plan unit/test_plan.c LIBS ecd_weights)
ecd_test(test_memory unit/test_memory.c LIBS ecd_base)
ecd_test(test_compress unit/test_compress.c unit/torch_writer.c LIBS ecd_weights)
ecd_test(test_whole_checkpoints_thread SOURCES unit/test_whole_checkpoints.c unit/llm_folder.c LINK ecd_weights)
ecd_test(test_alpha_fit unit/test_alpha_fit.c LIBS ecd_weights)

# Not a test: what docs/SPEED.md says under "Store" is measured by it.
add_executable(ecd_load_bench EXCLUDE_FROM_ALL bench/load_bench.c)
target_include_directories(ecd_load_bench PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(ecd_load_bench PRIVATE ecd_weights)
