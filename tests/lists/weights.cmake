ecd_test(test_safetensors unit/test_safetensors.c LIBS ecd_weights)
ecd_test(test_model_folder unit/test_model_folder.c LIBS ecd_weights)
ecd_test(test_store unit/test_store.c LIBS ecd_weights)
ecd_test(test_compress unit/test_compress.c LIBS ecd_weights)
