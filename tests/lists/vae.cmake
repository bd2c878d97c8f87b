ecd_test(test_vae unit/test_vae.c LIBS ecd_vae)
