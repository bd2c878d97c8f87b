ecd_test(test_safetensors unit/test_safetensors.c LIBS ecd_weights)
