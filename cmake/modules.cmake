# SPDX-License-Identifier: Apache-2.0
# Half of an ordinary file's compile time is the standard library and fmt: precompiled once for all modules, with GoogleTest
# once for all tests. Not with a compiler cache, which sees another precompiled header in every checkout; the clang preset
# does without, so that a file that forgets an include is found.
set(pch_default ON)
if(CMAKE_CXX_COMPILER_LAUNCHER)
  set(pch_default OFF)
endif()
option(MIXTRAL_PCH "Use precompiled headers" ${pch_default})

# What a test does itself is little; -O3 would double the time that it takes to compile.
set(mixtral_test_options $<$<CONFIG:Release>:-O1>)

# mixtral_precompile(target owner): target uses the precompiled header of owner, a library made for it, whose flags must be
# the target's: mixtral_pch for modules, mixtral_test_pch for tests.
function(mixtral_precompile target owner)
  if(NOT MIXTRAL_PCH)
    return()
  endif()
  if(NOT TARGET ${owner})
    file(WRITE ${PROJECT_BINARY_DIR}/pch/${owner}.cc "")
    add_library(${owner} OBJECT ${PROJECT_BINARY_DIR}/pch/${owner}.cc)
    target_link_libraries(${owner} PRIVATE mixtral_flags fmt::fmt)
    target_precompile_headers(${owner} PRIVATE <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <fstream>
      <functional> <map> <memory> <optional> <span> <sstream> <string> <string_view> <vector> <fmt/format.h>)
    if(owner STREQUAL mixtral_test_pch)
      # Flags of a program, where an object library has those of a library.
      set_target_properties(${owner} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${owner} PRIVATE -fPIE)
      target_link_libraries(${owner} PRIVATE GTest::gtest)
      target_compile_options(${owner} PRIVATE ${mixtral_test_options})
      target_precompile_headers(${owner} PRIVATE <gtest/gtest.h>)
    endif()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()

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
    if(NOT name STREQUAL kernels)  # which includes next to nothing, and no fmt
      mixtral_precompile(mixtral_${name} mixtral_pch)
    endif()
  else()
    add_library(mixtral_${name} INTERFACE)
    target_link_libraries(mixtral_${name} INTERFACE mixtral_flags ${ARG_LINK})
  endif()
  if(MIXTRAL_TESTS AND tests)
    if(name STREQUAL kernels)
      set(own_pch OWN_PCH)
    endif()
    mixtral_test(${name}_test LABEL unit SOURCES ${tests} LINK mixtral_${name} ${own_pch})
  endif()
endfunction()

# mixtral_test(name LABEL label SOURCES ... LINK ... [OWN_PCH]): a GoogleTest binary, every case of it one ctest case. OWN_PCH:
# the caller gives it a precompiled header.
function(mixtral_test name)
  cmake_parse_arguments(ARG "OWN_PCH" "LABEL" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE mixtral_flags ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_compile_options(${name} PRIVATE ${mixtral_test_options})
  if(NOT ARG_OWN_PCH)
    mixtral_precompile(${name} mixtral_test_pch)
  endif()
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
