ecd_test(test_image SOURCES unit/test_image.c LINK ecd_app)
ecd_test(test_preview SOURCES unit/test_preview.c LINK ecd_app)
ecd_test(test_plot SOURCES unit/test_plot.c LINK ecd_app)
ecd_test(test_synthetic SOURCES unit/test_synthetic.c LINK ecd_app)
