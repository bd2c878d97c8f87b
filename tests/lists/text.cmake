# Mixed text and its ids, for tests/peers/tokenizers.sh.
add_executable(ecd_tokens EXCLUDE_FROM_ALL peers/tokens.c)
target_include_directories(ecd_tokens PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(ecd_tokens PRIVATE _GNU_SOURCE)
target_link_libraries(ecd_tokens PRIVATE ecd_text)

ecd_test(test_text_ids unit/test_text_ids.c LIBS ecd_text)
ecd_test(test_text_encoder unit/test_text_encoder.c LIBS ecd_text)
ecd_test(test_text_hostile unit/test_text_hostile.c LIBS ecd_text)
