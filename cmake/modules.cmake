# SPDX-License-Identifier: Apache-2.0
# mixtral_module(name LINK targets...): src/<name>/**/*.cc becomes the library mixtral_<name>, its *_test.cc files the test
# binary <name>_test; main.cc is a program's and not in the library. The link row is the row of tools/layers.txt, so a
# forbidden include does not even link.
function(mixtral_module name)
  cmake_parse_arguments(ARG "" "" "LINK;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(mixtral_${name} STATIC ${sources})
    target_link_libraries(mixtral_${name} PUBLIC mixtral_flags ${ARG_LINK} PRIVATE ${ARG_PRIVATE})
  else()
    add_library(mixtral_${name} INTERFACE)
    target_link_libraries(mixtral_${name} INTERFACE mixtral_flags ${ARG_LINK})
  endif()
  if(MIXTRAL_TESTS AND tests)
    mixtral_test(${name}_test LABEL unit SOURCES ${tests} LINK mixtral_${name})
  endif()
endfunction()

# mixtral_test(name LABEL label SOURCES ... LINK ...): a GoogleTest binary, every case of it one ctest case.
function(mixtral_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE mixtral_flags ${ARG_LINK} GTest::gtest GTest::gtest_main)
  # Only where it is used, so that a compiler cache serves the other files in every checkout.
  foreach(source ${ARG_SOURCES})
    file(STRINGS ${source} uses_it REGEX MIXTRAL_SOURCE_DIR LIMIT_COUNT 1)
    if(uses_it)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS MIXTRAL_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    endif()
  endforeach()
  # PRE_TEST: the binary is asked for its cases by ctest, not by the build. allocator_may_return_null: tests ask for absurd
  # amounts of memory and expect a clean refusal, with and without the address sanitizer.
  gtest_discover_tests(${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 600 ENVIRONMENT "ASAN_OPTIONS=allocator_may_return_null=1")
endfunction()
