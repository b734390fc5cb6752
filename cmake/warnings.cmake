# SPDX-License-Identifier: Apache-2.0
# Flags of every target. Never -ffast-math, and -ffp-contract=off: a fused multiply-add is written where it is meant,
# because results must not depend on what the compiler fuses (docs/kernels.md).
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3")
# The modules become one shared library, too. Hidden visibility keeps their code what it would be in a program.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

add_library(mixtral_flags INTERFACE)
target_compile_options(mixtral_flags INTERFACE -ffp-contract=off -fno-math-errno -fno-trapping-math
  -Wall -Wextra -Wshadow
  # GCC 12 sees overlaps and overflows in "a" + std::string that are not there (GCC bugs 105651, 105329).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>
  $<$<BOOL:${MIXTRAL_WERROR}>:-Werror>)
target_include_directories(mixtral_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(MIXTRAL_SANITIZE)
  target_compile_options(mixtral_flags INTERFACE -fsanitize=${MIXTRAL_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer
    # Clang 14 cannot assemble coroutines with it ("Cannot represent a difference across sections").
    $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
  target_link_options(mixtral_flags INTERFACE -fsanitize=${MIXTRAL_SANITIZE})
endif()
